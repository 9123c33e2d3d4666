import type { Discovered } from '../model/discovered.ts';
import type { Reference } from '../model/reference.ts';
import type { DiscoverySource } from './source.ts';

/** The source of each kind of reference. Absent if none is built in; then no schema allows such a reference. */
export type SourceByKind = {
  readonly [Kind in Reference['source']]?: DiscoverySource<Extract<Reference, { source: Kind }>>;
};

const NOT_BUILT_IN: Discovered = {
  state: 'unknown',
  beginning: false,
  message:
    "This program has no discovery source for this kind of backend: the gateway's current nodes are unchanged",
};

/** Combines sources: each reference goes to the source of its kind. */
export function combineSources(sources: SourceByKind): DiscoverySource<Reference> {
  const all = Object.values(sources) as readonly DiscoverySource<Reference>[];
  const sourceOf = ({ source }: Reference) => sources[source] as DiscoverySource<Reference> | undefined;
  return {
    type: 'all',
    async run(signal) {
      await Promise.all(all.map((source) => source.run(signal)));
    },
    subscribe: (ref, changed, namespace) =>
      sourceOf(ref)?.subscribe(ref, changed, namespace) ?? { [Symbol.dispose]: () => undefined },
    read: (ref) => sourceOf(ref)?.read(ref) ?? NOT_BUILT_IN,
    departure: (ref, removedEndpoints) => sourceOf(ref)?.departure(ref, removedEndpoints) ?? 'unknown',
    listedElsewhere(refs, addresses) {
      // What one kind of source lists explains nothing about the endpoints of another.
      const own = Map.groupBy(refs, sourceOf);
      return new Set(
        [...own].flatMap(([source, refsOfSource]) => [
          ...(source?.listedElsewhere(refsOfSource, addresses) ?? []),
        ]),
      );
    },
  };
}
