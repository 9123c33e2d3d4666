import { type ObjectKey, objectKey, type UpstreamId } from '../core/model.ts';
import { defaultUpstreamId } from '../core/ownership.ts';
import type { GatewayUpstream } from '../kube/objects.ts';

/** The upstream id that `object` wants on a connection with this `idPrefix`; undefined while its spec is not valid. */
export function wantedId(object: GatewayUpstream, idPrefix: string): UpstreamId | undefined {
  if (!object.spec.ok) return undefined;
  return object.spec.value.upstreamId ?? defaultUpstreamId(idPrefix, object.namespace, object.name);
}

/** Which objects want which id of which connection, kept in step with the objects. */
export class Claims {
  readonly #byId = new Map<string, Set<ObjectKey>>();
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
    const rivals = new Set<ObjectKey>();
    for (const touched of new Set([before, claim])) {
      if (touched === undefined) continue;
      const claimants = this.#byId.get(touched) ?? new Set();
      if (touched === claim) claimants.add(key);
      else claimants.delete(key);
      if (claimants.size > 0) this.#byId.set(touched, claimants);
      else this.#byId.delete(touched);
      for (const rival of claimants) if (rival !== key) rivals.add(rival);
    }
    if (claim === undefined) this.#byObject.delete(key);
    else this.#byObject.set(key, claim);
    return rivals;
  }

  /** The other objects that want what `key` wants. */
  rivals(key: ObjectKey): readonly ObjectKey[] {
    const claimants = this.#byId.get(this.#byObject.get(key) ?? '') ?? [];
    return [...claimants].filter((rival) => rival !== key);
  }

  /** Every object that wants `id` of `connection`. */
  claimants(connection: string, id: UpstreamId): readonly ObjectKey[] {
    return [...(this.#byId.get(`${connection}\n${id}`) ?? [])];
  }
}

export function keyOf(object: { readonly namespace: string; readonly name: string }): ObjectKey {
  return objectKey(object.namespace, object.name);
}
