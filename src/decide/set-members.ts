import { keyOf, type ObjectKey, objectKey, splitKey } from '../model/keys.ts';
import type { GatewayUpstream, GatewayUpstreamSet, NamespaceStored } from '../model/objects.ts';
import type { Stored, StoreView } from '../model/store-view.ts';
import { patternProblem } from './selectors.ts';
import {
  holds,
  isPortGone,
  isSamePort,
  memberNames,
  memberOf,
  plainName,
  type Selection,
  type SetMember,
  type SetPort,
  type SetProblem,
  type SetService,
  selectPorts,
} from './upstream-set.ts';

/** What decides which GatewayUpstreams a set has. */
export interface SetSnapshot {
  /** With the index `set`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly namespaces: Pick<StoreView<NamespaceStored>, 'get'>;
  /** With the index `namespace`. */
  readonly services: StoreView<SetService & Stored>;
}

/** A set whose spec can be used. */
export type UsableSet = GatewayUpstreamSet & { readonly spec: { readonly ok: true } };

export function isUsable(set: GatewayUpstreamSet): set is UsableSet {
  return set.spec.ok && patternProblem(set.spec.value.namespaceSelector) === undefined;
}

/**
 * Which GatewayUpstreams one set wants and has, kept in step with Services, namespaces and GatewayUpstreams: a change of
 * one Service looks at that Service alone.
 */
export class SetMembers {
  readonly #snapshot: SetSnapshot;
  readonly #set: UsableSet;
  /** Of the Services that match. */
  readonly #selections = new Map<ObjectKey, Selection>();
  /** By namespace and plain name. */
  readonly #claims = new Map<ObjectKey, readonly SetPort[]>();
  /** The names that were given to a claim, by the same. */
  readonly #given = new Map<ObjectKey, readonly ObjectKey[]>();
  readonly #wanted = new Map<ObjectKey, SetPort>();
  readonly #owned = new Set<ObjectKey>();
  /** With whether their Service, its port or their namespace is gone, which explains it. */
  readonly #unwanted = new Map<ObjectKey, { readonly explained: boolean }>();
  #unexplained = 0;

  constructor(snapshot: SetSnapshot, set: UsableSet) {
    this.#snapshot = snapshot;
    this.#set = set;
    for (const { namespace, name } of snapshot.services.list()) this.selectService(namespace, name);
    for (const member of snapshot.upstreams.byIndex('set', set.name)) this.noteMember(keyOf(member));
  }

  /** Services that match. */
  get services(): number {
    return this.#selections.size;
  }

  get wanted(): ReadonlyMap<ObjectKey, SetPort> {
    return this.#wanted;
  }

  /** GatewayUpstreams that the set made, or wants and may have, and that are not being deleted. */
  get owned(): ReadonlySet<ObjectKey> {
    return this.#owned;
  }

  /** Those of `owned` that nobody wants any more; `explained`: their Service, its port or their namespace is gone. */
  get unwanted(): ReadonlyMap<ObjectKey, { readonly explained: boolean }> {
    return this.#unwanted;
  }

  /** How many of `unwanted` nothing explains. */
  get unexplained(): number {
    return this.#unexplained;
  }

  /** What no GatewayUpstream of the plain name can be made of, for a reason in the Service. In order. */
  problems(): readonly SetProblem[] {
    const problems = [...this.#selections.values()].flatMap((selection) => selection.problems);
    for (const [key, port] of this.#wanted) {
      if (splitKey(key).name === plainName(port)) continue;
      const { namespace, service, label } = port;
      problems.push({ service: `${namespace}/${service}`, port: label, reason: 'NameCollision' });
    }
    return problems;
  }

  /** Looks at a Service again. Returns the keys of GatewayUpstreams that this may concern. */
  selectService(namespace: string, name: string): readonly ObjectKey[] {
    const key = objectKey(namespace, name);
    const service = this.#snapshot.services.get(namespace, name);
    const facts = this.#snapshot.namespaces.get('', namespace);
    const selection =
      service === undefined || service.unreadable !== undefined || facts === undefined || facts.terminating
        ? undefined
        : selectPorts(this.#set.spec.value, service, facts);
    const before = this.#selections.get(key)?.ports ?? [];
    if (selection === undefined) this.#selections.delete(key);
    else this.#selections.set(key, selection);
    const now = selection?.ports ?? [];
    const concerned = new Set<ObjectKey>();
    for (const plain of new Set([...before, ...now].map(plainName))) {
      const claim = objectKey(namespace, plain);
      const others = (this.#claims.get(claim) ?? []).filter((port) => port.service !== name);
      const claimed = [...others, ...now.filter((port) => plainName(port) === plain)];
      for (const one of this.#give(claim, claimed)) concerned.add(one);
    }
    // Whether their Service is there decides what may become of them.
    this.#noteUnwanted((one) => this.#serviceOf(one) === key, concerned);
    return [...concerned];
  }

  /** Looks at all Services of a namespace again. Returns the keys of GatewayUpstreams that this may concern. */
  selectNamespace(namespace: string): readonly ObjectKey[] {
    const concerned = new Set<ObjectKey>();
    for (const { name } of this.#snapshot.services.byIndex('namespace', namespace)) {
      for (const key of this.selectService(namespace, name)) concerned.add(key);
    }
    this.#noteUnwanted((one) => splitKey(one).namespace === namespace, concerned);
    return [...concerned];
  }

  /** Looks at a GatewayUpstream again. */
  noteMember(key: ObjectKey): void {
    const { namespace, name } = splitKey(key);
    const object = this.#snapshot.upstreams.get(namespace, name);
    const isWanted = this.#wanted.has(key);
    // A label alone, which the owner of any namespace can write, hands an object over that the set wants, and no other.
    const owned =
      object !== undefined &&
      object.deletionTimestamp === undefined &&
      (isWanted ? this.owns(object) : object.madeBy?.uid === this.#set.uid);
    if (owned) this.#owned.add(key);
    else this.#owned.delete(key);
    if (this.#unwanted.get(key)?.explained === false) this.#unexplained -= 1;
    this.#unwanted.delete(key);
    if (!owned || isWanted) return;
    const explained = this.#isExplained(key);
    this.#unwanted.set(key, { explained });
    if (!explained) this.#unexplained += 1;
  }

  /**
   * Whether the set made `object`, or an earlier one of its name, or somebody handed it over by its label. What an earlier
   * one made Kubernetes deletes, unless it missed that: it watches names, and there is a set of this name.
   */
  owns({ madeBy }: GatewayUpstream): boolean {
    return madeBy?.set === this.#set.name;
  }

  /** What the GatewayUpstream `key` should be; undefined where nobody wants it. */
  member(key: ObjectKey): SetMember | undefined {
    const port = this.#wanted.get(key);
    if (port === undefined) return undefined;
    return memberOf({ name: this.#set.name, spec: this.#set.spec.value }, port, splitKey(key).name);
  }

  /** Whether the Service of the GatewayUpstream `key` is there and cannot be read, so that it may still be wanted. */
  isServiceUnreadable(key: ObjectKey): boolean {
    const service = this.#serviceOf(key);
    if (service === undefined) return false;
    const { namespace, name } = splitKey(service);
    return this.#snapshot.services.get(namespace, name)?.unreadable !== undefined;
  }

  /** Whether `object` is already what the set makes of `member`. */
  isApplied(object: GatewayUpstream, member: SetMember): boolean {
    const { madeBy, spec } = object;
    return (
      madeBy?.uid === this.#set.uid &&
      holds(madeBy.labels, member.labels) &&
      holds(madeBy.annotations, member.annotations) &&
      spec.ok &&
      holds(spec.value, member.spec)
    );
  }

  /** Gives names to the ports that claim one plain name. Returns the names before and after. */
  #give(claim: ObjectKey, ports: readonly SetPort[]): readonly ObjectKey[] {
    const { namespace } = splitKey(claim);
    const before = this.#given.get(claim) ?? [];
    const names = memberNames(ports, (name, port) => this.#hasName(objectKey(namespace, name), port));
    const now = [...names.keys()].map((name) => objectKey(namespace, name));
    for (const key of before) this.#wanted.delete(key);
    for (const [name, port] of names) this.#wanted.set(objectKey(namespace, name), port);
    if (ports.length === 0) {
      this.#claims.delete(claim);
      this.#given.delete(claim);
    } else {
      this.#claims.set(claim, ports);
      this.#given.set(claim, now);
    }
    const concerned = [...new Set([...before, ...now])];
    for (const key of concerned) this.noteMember(key);
    return concerned;
  }

  /** Whether `port` was given the name `key` before, by this process or by what is in the cluster. */
  #hasName(key: ObjectKey, port: SetPort): boolean {
    const given = this.#wanted.get(key);
    if (given !== undefined) return isSamePort(given, port);
    const { namespace, name } = splitKey(key);
    const object = this.#snapshot.upstreams.get(namespace, name);
    if (object === undefined || !this.owns(object) || !object.spec.ok) return false;
    const serviceRef = object.spec.value.backends[0]?.serviceRef;
    return serviceRef?.name === port.service && serviceRef.port === port.port;
  }

  #isExplained(key: ObjectKey): boolean {
    const { namespace, name } = splitKey(key);
    const facts = this.#snapshot.namespaces.get('', namespace);
    if (facts === undefined || facts.terminating) return true;
    const spec = this.#snapshot.upstreams.get(namespace, name)?.spec;
    if (spec?.ok !== true || this.isServiceUnreadable(key)) return false;
    const service = spec.value.backends[0]?.serviceRef?.name;
    if (service === undefined) return false;
    return isPortGone(spec.value, this.#snapshot.services.get(namespace, service));
  }

  /** Looks again at the unwanted ones that `isMeant`, and adds them to `concerned`. */
  #noteUnwanted(isMeant: (key: ObjectKey) => boolean, concerned: Set<ObjectKey>): void {
    for (const key of [...this.#unwanted.keys()].filter(isMeant)) {
      this.noteMember(key);
      concerned.add(key);
    }
  }

  /** The Service of an unwanted GatewayUpstream. */
  #serviceOf(key: ObjectKey): ObjectKey | undefined {
    const { namespace, name } = splitKey(key);
    const spec = this.#snapshot.upstreams.get(namespace, name)?.spec;
    const service = spec?.ok === true ? spec.value.backends[0]?.serviceRef?.name : undefined;
    return service === undefined ? undefined : objectKey(namespace, service);
  }
}
