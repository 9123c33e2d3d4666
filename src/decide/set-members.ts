import { keyOf, type ObjectKey, objectKey, splitKey } from '../model/keys.ts';
import type { GatewayUpstream, GatewayUpstreamSet, NamespaceStored } from '../model/objects.ts';
import type { Stored, StoreView } from '../model/store-view.ts';
import { patternProblem } from './selectors.ts';
import {
  includesAll,
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

/** The input that determines the GatewayUpstreams of a set. */
export interface SetSnapshot {
  /** With the index `set`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly namespaces: Pick<StoreView<NamespaceStored>, 'get'>;
  /** With the index `namespace`. */
  readonly services: StoreView<SetService & Stored>;
}

/** A set with a valid spec. */
export type UsableSet = GatewayUpstreamSet & { readonly spec: { readonly ok: true } };

export function isUsable(set: GatewayUpstreamSet): set is UsableSet {
  return set.spec.ok && patternProblem(set.spec.value.namespaceSelector) === undefined;
}

/**
 * The desired and existing GatewayUpstreams of one set. It is updated incrementally from Services, namespaces and
 * GatewayUpstreams: a change of one Service evaluates only that Service.
 */
export class SetMembers {
  readonly #snapshot: SetSnapshot;
  readonly #set: UsableSet;
  /** The selections of the matching Services. */
  readonly #selections = new Map<ObjectKey, Selection>();
  /** The ports by namespace and plain name; ports with the same plain name compete for it. */
  readonly #portsByPlainName = new Map<ObjectKey, readonly SetPort[]>();
  /** The assigned names, by namespace and plain name. */
  readonly #assigned = new Map<ObjectKey, readonly ObjectKey[]>();
  readonly #wanted = new Map<ObjectKey, SetPort>();
  readonly #owned = new Set<ObjectKey>();
  /** `explained`: their Service, its port or their namespace no longer exists. */
  readonly #unwanted = new Map<ObjectKey, { readonly explained: boolean }>();
  #unexplained = 0;

  constructor(snapshot: SetSnapshot, set: UsableSet) {
    this.#snapshot = snapshot;
    this.#set = set;
    for (const { namespace, name } of snapshot.services.list()) this.selectService(namespace, name);
    for (const member of snapshot.upstreams.byIndex('set', set.name)) this.noteMember(keyOf(member));
  }

  /** The number of matching Services. */
  get services(): number {
    return this.#selections.size;
  }

  get wanted(): ReadonlyMap<ObjectKey, SetPort> {
    return this.#wanted;
  }

  /** GatewayUpstreams that the set created or took over, and that are not being deleted. */
  get owned(): ReadonlySet<ObjectKey> {
    return this.#owned;
  }

  /**
   * The part of `owned` that is no longer desired; `explained`: their Service, its port or their namespace no longer exists.
   */
  get unwanted(): ReadonlyMap<ObjectKey, { readonly explained: boolean }> {
    return this.#unwanted;
  }

  /** The number of `unwanted` GatewayUpstreams that are not explained. */
  get unexplained(): number {
    return this.#unexplained;
  }

  /** The problems of matching Services, and ports whose plain name is in use by another port. */
  problems(): readonly SetProblem[] {
    const problems = [...this.#selections.values()].flatMap((selection) => selection.problems);
    for (const [key, port] of this.#wanted) {
      if (splitKey(key).name === plainName(port)) continue;
      const { namespace, service, label } = port;
      problems.push({ service: `${namespace}/${service}`, port: label, reason: 'NameCollision' });
    }
    return problems;
  }

  /** Evaluates a Service again. Returns the keys of GatewayUpstreams that may be affected. */
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
      const plainKey = objectKey(namespace, plain);
      const others = (this.#portsByPlainName.get(plainKey) ?? []).filter((port) => port.service !== name);
      const competing = [...others, ...now.filter((port) => plainName(port) === plain)];
      for (const one of this.#assign(plainKey, competing)) concerned.add(one);
    }
    // Whether the Service exists determines whether a deletion is explained.
    this.#noteUnwanted((one) => this.#serviceOf(one) === key, concerned);
    return [...concerned];
  }

  /** Evaluates all Services of a namespace again. Returns the keys of GatewayUpstreams that may be affected. */
  selectNamespace(namespace: string): readonly ObjectKey[] {
    const concerned = new Set<ObjectKey>();
    for (const { name } of this.#snapshot.services.byIndex('namespace', namespace)) {
      for (const key of this.selectService(namespace, name)) concerned.add(key);
    }
    this.#noteUnwanted((one) => splitKey(one).namespace === namespace, concerned);
    return [...concerned];
  }

  /** Evaluates a GatewayUpstream again. */
  noteMember(key: ObjectKey): void {
    const { namespace, name } = splitKey(key);
    const object = this.#snapshot.upstreams.get(namespace, name);
    const isWanted = this.#wanted.has(key);
    // A namespace owner can write the set label, so the label alone transfers only objects that the set desires.
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
   * Whether this set or an earlier set of the same name created `object`, or its owner handed it over by the set label.
   * Kubernetes garbage-collects the objects of an earlier set, but may miss some once a new set has its name.
   */
  owns({ madeBy }: GatewayUpstream): boolean {
    return madeBy?.set === this.#set.name;
  }

  /** The desired state of the GatewayUpstream `key`; undefined if it is not desired. */
  member(key: ObjectKey): SetMember | undefined {
    const port = this.#wanted.get(key);
    if (port === undefined) return undefined;
    return memberOf({ name: this.#set.name, spec: this.#set.spec.value }, port, splitKey(key).name);
  }

  /**
   * Whether the Service of the GatewayUpstream `key` exists but cannot be read, so the GatewayUpstream may still be desired.
   */
  isServiceUnreadable(key: ObjectKey): boolean {
    const service = this.#serviceOf(key);
    if (service === undefined) return false;
    const { namespace, name } = splitKey(service);
    return this.#snapshot.services.get(namespace, name)?.unreadable !== undefined;
  }

  /** Whether `object` already has the desired state `member`. */
  isApplied(object: GatewayUpstream, member: SetMember): boolean {
    const { madeBy, spec } = object;
    return (
      madeBy?.uid === this.#set.uid &&
      includesAll(madeBy.labels, member.labels) &&
      includesAll(madeBy.annotations, member.annotations) &&
      spec.ok &&
      includesAll(spec.value, member.spec)
    );
  }

  /** Assigns names to the ports with one plain name. Returns the names before and after. */
  #assign(plainKey: ObjectKey, ports: readonly SetPort[]): readonly ObjectKey[] {
    const { namespace } = splitKey(plainKey);
    const before = this.#assigned.get(plainKey) ?? [];
    const names = memberNames(ports, (name, port) => this.#hasName(objectKey(namespace, name), port));
    const now = [...names.keys()].map((name) => objectKey(namespace, name));
    for (const key of before) this.#wanted.delete(key);
    for (const [name, port] of names) this.#wanted.set(objectKey(namespace, name), port);
    if (ports.length === 0) {
      this.#portsByPlainName.delete(plainKey);
      this.#assigned.delete(plainKey);
    } else {
      this.#portsByPlainName.set(plainKey, ports);
      this.#assigned.set(plainKey, now);
    }
    const concerned = [...new Set([...before, ...now])];
    for (const key of concerned) this.noteMember(key);
    return concerned;
  }

  /** Whether `port` already has the name `key`, in this process or in the cluster. */
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

  /** Evaluates the unwanted GatewayUpstreams that match `isMeant` again, and adds them to `concerned`. */
  #noteUnwanted(isMeant: (key: ObjectKey) => boolean, concerned: Set<ObjectKey>): void {
    for (const key of [...this.#unwanted.keys()].filter(isMeant)) {
      this.noteMember(key);
      concerned.add(key);
    }
  }

  /** The key of the Service that the GatewayUpstream `key` references. */
  #serviceOf(key: ObjectKey): ObjectKey | undefined {
    const { namespace, name } = splitKey(key);
    const spec = this.#snapshot.upstreams.get(namespace, name)?.spec;
    const service = spec?.ok === true ? spec.value.backends[0]?.serviceRef?.name : undefined;
    return service === undefined ? undefined : objectKey(namespace, service);
  }
}
