import type { ObjectKey } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { UpstreamId } from '../model/upstream.ts';
import { MultiMap } from '../runtime/multi-map.ts';
import { defaultUpstreamId } from './ownership.ts';

/** The upstream id of `object` in a connection with this `idPrefix`; undefined while its spec is invalid. */
export function wantedId(object: GatewayUpstream, idPrefix: string): UpstreamId | undefined {
  if (!object.spec.ok) return undefined;
  return object.spec.value.upstreamId ?? defaultUpstreamId(idPrefix, object.namespace, object.name);
}

/** An index of the objects by connection and upstream id. */
export class IdConflicts {
  readonly #byId = new MultiMap<string, ObjectKey>();
  readonly #byObject = new Map<ObjectKey, string>();

  /**
   * Updates the entry of `key`. Removes it if the object is deleted (`current` undefined) or its connection is unknown
   * (`idPrefix` undefined). Returns the other objects that use the previous or the new id, which need another reconcile.
   */
  update(
    key: ObjectKey,
    current: GatewayUpstream | undefined,
    idPrefix: string | undefined,
  ): ReadonlySet<ObjectKey> {
    const id = current === undefined || idPrefix === undefined ? undefined : wantedId(current, idPrefix);
    const idKey = current === undefined || id === undefined ? undefined : `${current.connection}\n${id}`;
    const before = this.#byObject.get(key);
    const others = new Set<ObjectKey>();
    for (const touched of new Set([before, idKey])) {
      if (touched === undefined) continue;
      if (touched === idKey) this.#byId.add(touched, key);
      else this.#byId.delete(touched, key);
      for (const other of this.#byId.get(touched)) if (other !== key) others.add(other);
    }
    if (idKey === undefined) this.#byObject.delete(key);
    else this.#byObject.set(key, idKey);
    return others;
  }

  /** The other objects with the same id as `key`. */
  others(key: ObjectKey): readonly ObjectKey[] {
    return this.#byId.get(this.#byObject.get(key) ?? '').filter((other) => other !== key);
  }

  /** All objects with upstream id `id` in `connection`. */
  contenders(connection: string, id: UpstreamId): readonly ObjectKey[] {
    return this.#byId.get(`${connection}\n${id}`);
  }
}
