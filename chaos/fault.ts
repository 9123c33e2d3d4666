import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** Something that is broken for a while. */
export interface Trouble {
  readonly detail: string;
  /** Absent where there is nothing to be mended. */
  readonly heal?: () => Promise<void>;
  /** Steps after which it is mended. */
  readonly steps?: number;
}

/** One kind of fault. */
export interface Fault {
  readonly name: string;
  /** How often, relative to the others. */
  readonly weight: number;
  /** Of two faults of one place only one is there at a time. */
  readonly place: string;
  /** Resolves to undefined where there was nothing to break. */
  strike(site: Site, random: Random): Promise<Trouble | undefined>;
}
