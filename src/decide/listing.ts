import type { Discovered } from '../model/discovered.ts';

/** Whether the objects of a kind are listed completely. */
type Listing =
  | { readonly state: 'syncing'; readonly problem?: string }
  | { readonly state: 'synced' | 'absent' };

type Unknown = Extract<Discovered, { state: 'unknown' }>;

/** The answer while the objects of `kind` are not listed. `problem` is the cause; undefined before the first list. */
export function unknownKind(kind: string, problem: string | undefined): Unknown {
  return {
    state: 'unknown',
    beginning: problem === undefined,
    message: `${kind} are not listed ${problem === undefined ? 'yet' : `(${problem})`}: the gateway's current configuration is unchanged`,
  };
}

/** The answer while the objects of `kind` are not listed completely; undefined once they are. */
export function unlisted(kind: string, { state }: { readonly state: Listing }): Unknown | undefined {
  if (state.state === 'synced') return undefined;
  return unknownKind(kind, state.state === 'syncing' ? state.problem : 'the API server does not serve them');
}

/** The answer if one of `objects` of `kind` cannot be read; undefined if all can. */
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
