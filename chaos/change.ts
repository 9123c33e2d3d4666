import type { Upstream } from './model.ts';
import type { Service } from './places.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** One kind of change that people and controllers make in a cluster. */
export interface Change {
  readonly name: string;
  /** How often, relative to the others. */
  readonly weight: number;
  /** Resolves to what it did, or to undefined where there was nothing that it could be done to. */
  apply(site: Site, random: Random): Promise<string | undefined>;
}

/** The upstreams whose objects are there. */
export function live({ model }: Site): readonly Upstream[] {
  return [...model.upstreams.values()].filter(({ state }) => state === 'live');
}

/** Those that are there or were. */
export function services({ model }: Site): readonly Service[] {
  return [...model.services.values()].filter(({ namespace }) => model.namespaces.has(namespace));
}

/** A name that was not used in this run. */
export function newName({ model }: Site, prefix: string): string {
  return `${prefix}${model.owned.size + model.services.size}`;
}
