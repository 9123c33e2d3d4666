import type { Upstream } from './model.ts';
import type { Service } from './places.ts';
import type { Random } from './random.ts';
import type { Site } from './site.ts';

/** A kind of change that users and controllers make in a cluster. */
export interface Change {
  readonly name: string;
  /** The relative frequency. */
  readonly weight: number;
  /** Resolves to a description of the change, or to undefined if there was nothing to change. */
  apply(site: Site, random: Random): Promise<string | undefined>;
}

/** The upstreams whose objects exist. */
export function live({ model }: Site): readonly Upstream[] {
  return [...model.upstreams.values()].filter(({ state }) => state === 'live');
}

/** All upstreams, including those whose objects are being deleted. */
export function services({ model }: Site): readonly Service[] {
  return [...model.services.values()].filter(({ namespace }) => model.namespaces.has(namespace));
}

/** A name that this run has not used before. */
export function newName({ model }: Site, prefix: string): string {
  return `${prefix}${model.owned.size + model.services.size}`;
}
