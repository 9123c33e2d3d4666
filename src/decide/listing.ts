import type { Discovered } from '../model/discovered.ts';

/** How far the objects of a kind are known. */
type Listing =
  | { readonly state: 'syncing'; readonly problem?: string }
  | { readonly state: 'synced' | 'absent' };

type Unknown = Extract<Discovered, { state: 'unknown' }>;

/** What is to be said while the objects of `kind` are not known. `problem`: why; undefined: not listed yet. */
export function unknownKind(kind: string, problem: string | undefined): Unknown {
  return {
    state: 'unknown',
    beginning: problem === undefined,
    message: `${kind} are not listed ${problem === undefined ? 'yet' : `(${problem})`}: the gateway's current configuration is unchanged`,
  };
}

/** Why nothing can be said as long as the objects of `kind` are not listed in full; undefined: they are. */
export function unlisted(kind: string, { state }: { readonly state: Listing }): Unknown | undefined {
  if (state.state === 'synced') return undefined;
  return unknownKind(kind, state.state === 'syncing' ? state.problem : 'the API server does not serve them');
}

/** What is to be said while one of `objects`, each of `kind`, cannot be read; undefined: all of them were. */
export function unreadableObject(
  kind: string,
  objects: readonly { readonly namespace: string; readonly name: string; readonly unreadable?: string }[],
): Unknown | undefined {
  const found = objects.find(({ unreadable }) => unreadable !== undefined);
  if (found === undefined) return undefined;
  return {
    state: 'unknown',
    beginning: false,
    message: `${kind} ${found.namespace}/${found.name} cannot be read (${found.unreadable}): the gateway's current configuration is unchanged; check that object and the log of the operator`,
  };
}
