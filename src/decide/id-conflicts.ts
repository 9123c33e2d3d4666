import type { ObjectKey } from '../model/keys.ts';
import type { GatewayUpstream } from '../model/objects.ts';
import type { UpstreamId } from '../model/upstream.ts';
import { MultiMap } from '../runtime/multi-map.ts';
import { defaultUpstreamId } from './ownership.ts';

/** The upstream id that `object` wants on a connection with this `idPrefix`; undefined while its spec is not valid. */
export function wantedId(object: GatewayUpstream, idPrefix: string): UpstreamId | undefined {
  if (!object.spec.ok) return undefined;
  return object.spec.value.upstreamId ?? defaultUpstreamId(idPrefix, object.namespace, object.name);
}

/** Which objects want which id of which connection, kept in step with the objects. */
export class IdConflicts {
  readonly #byId = new MultiMap<string, ObjectKey>();
  readonly #byObject = new Map<ObjectKey, string>();

  /**
   * Notes what `key` wants now; nothing where `current` is gone or its connection unknown (`idPrefix` undefined).
   * Returns the other objects whose claim this may decide.
   */
  update(
    key: ObjectKey,
    current: GatewayUpstream | undefined,
    idPrefix: string | undefined,
  ): ReadonlySet<ObjectKey> {
    const id = current === undefined || idPrefix === undefined ? undefined : wantedId(current, idPrefix);
    const claim = current === undefined || id === undefined ? undefined : `${current.connection}\n${id}`;
    const before = this.#byObject.get(key);
    const others = new Set<ObjectKey>();
    for (const touched of new Set([before, claim])) {
      if (touched === undefined) continue;
      if (touched === claim) this.#byId.add(touched, key);
      else this.#byId.delete(touched, key);
      for (const other of this.#byId.get(touched)) if (other !== key) others.add(other);
    }
    if (claim === undefined) this.#byObject.delete(key);
    else this.#byObject.set(key, claim);
    return others;
  }

  /** The other objects that want what `key` wants. */
  others(key: ObjectKey): readonly ObjectKey[] {
    return this.#byId.get(this.#byObject.get(key) ?? '').filter((other) => other !== key);
  }

  /** Every object that wants `id` of `connection`. */
  contenders(connection: string, id: UpstreamId): readonly ObjectKey[] {
    return this.#byId.get(`${connection}\n${id}`);
  }
}
