import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** An active fault. */
export interface Trouble {
  readonly detail: string;
  /** Absent if there is nothing to heal. */
  readonly heal?: () => Promise<void>;
  /** The number of steps until it is healed. */
  readonly steps?: number;
}

/** A kind of fault. */
export interface Fault {
  readonly name: string;
  /** The relative frequency. */
  readonly weight: number;
  /** Only one fault per place is active at a time. */
  readonly place: string;
  /** Resolves to undefined if there was nothing to break. */
  strike(site: Site, random: Random): Promise<Trouble | undefined>;
}
