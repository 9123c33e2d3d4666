import {
  type ClusterNode,
  hasReady,
  isUseful,
  type Mode,
  type Place,
  placesOf,
  type Service,
  type Slice,
} from './places.ts';
import { Registered } from './registered.ts';

/**
 * The objects that the suite created. `places.ts` and `comparison.ts` derive the expected content of the gateway from them.
 * They use no code of the operator, so a mistake there cannot hide here.
 */

export interface Backend {
  /** A Service in the namespace of the upstream, or a service of the registry. */
  readonly service: string;
  readonly weight: number;
  /** Default: the connection's. */
  readonly mode?: BackendMode;
}

/** The addressing mode of a Service. `Registry`: the backend refers to the registry. */
export type BackendMode = Mode | 'Registry';

export type SyncPolicy = 'Sync' | 'UpsertOnly' | 'Observe';
export type DeletionPolicy = 'Delete' | 'Orphan' | 'Force';

export interface Upstream {
  readonly namespace: string;
  readonly name: string;
  readonly id: string;
  /** The set creates and deletes its object. */
  readonly isMember: boolean;
  /** `Nodes`: another client owns the upstream, and the object manages only its nodes. */
  readonly manage: 'Object' | 'Nodes';
  backends: readonly Backend[];
  retries: number;
  syncPolicy: SyncPolicy;
  deletionPolicy: DeletionPolicy;
  /** The Secret in its namespace with the client certificate. */
  readonly secret: string | undefined;
  /** Whether its removal guard is on. Otherwise, every removal happens at once. */
  readonly guarded: boolean;
  state: 'live' | 'deleting';
  /** All references of its backends since the last checkpoint. */
  referred: readonly Reference[];
  /** Its spec has changed since the last checkpoint. */
  edited: boolean;
  /** Its object was deleted and created again since the last checkpoint, and the operator may not have seen that yet. */
  flapped: boolean;
  /** With `manage: Nodes`: the operator wrote the nodes once, so it manages them even if there are none. */
  begun: boolean;
  /** Its policy at the last checkpoint; undefined if it has changed since. */
  settled: SyncPolicy | undefined;
}

/** A Service in the namespace of an upstream and its addressing mode, or a service of the registry. */
interface Reference {
  readonly service: string;
  readonly mode: BackendMode;
}

/** A Secret with a client certificate. */
export interface Secret {
  readonly namespace: string;
  readonly name: string;
  /** Undefined if the Secret does not exist, or its key does not match. */
  certificate: string | undefined;
  /** All certificates that it had so far. */
  readonly had: Set<string>;
  /** Its certificate at the last checkpoint; undefined if it has changed since. */
  settled: Pick<Secret, 'certificate'> | undefined;
}

export class Model {
  readonly namespaces = new Set<string>();
  readonly services = new Map<string, Service>();
  readonly nodes = new Map<string, ClusterNode>();
  /** The cluster node of each endpoint. */
  readonly homes = new Map<string, string>();
  readonly secrets = new Map<string, Secret>();
  readonly registered = new Registered();
  /** The upstreams with an object, by id. */
  readonly upstreams = new Map<string, Upstream>();
  /** Ids of deleted objects whose upstream may be retained. */
  readonly orphans = new Set<string>();
  /** Every id that an object has used so far. */
  readonly owned = new Set<string>();
  /** Upstreams of other owners, as JSON by id. */
  readonly foreign = new Map<string, string>();
  /** The owners' fields of the upstreams with `manage: Nodes`, as JSON by id; undefined if the upstream does not exist. */
  readonly kept = new Map<string, string | undefined>();
  /** The number of checkpoints that succeeded. */
  checkpoints = 0;
  /** The set, and the value in its template. */
  readonly set = { exists: false, retries: 1 };
  /** The addressing mode of backends without their own. */
  #addressing: Mode = 'Pod';
  /** There has always been a usable cluster node since the last checkpoint. */
  #nodesSteady = false;
  #addresses = 0;

  /** A new address. */
  newAddress(): string {
    this.#addresses += 1;
    return `10.${Math.floor(this.#addresses / 65_536)}.${(this.#addresses >> 8) % 256}.${this.#addresses % 256}`;
  }

  /** A new endpoint address, on the next cluster node. */
  newEndpoint(): string {
    const address = this.newAddress();
    const names = [...this.nodes.keys()];
    const home = names[this.#addresses % names.length];
    if (home !== undefined) this.homes.set(address, home);
    return address;
  }

  get addressing(): Mode {
    return this.#addressing;
  }

  set addressing(mode: Mode) {
    this.#addressing = mode;
    for (const upstream of this.upstreams.values()) this.refer(upstream);
  }

  service(namespace: string, name: string): Service | undefined {
    return this.services.get(`${namespace}/${name}`);
  }

  /** Called before the write to the cluster, because the operator may see the change from then on. */
  writeSlice(service: Service, slice: string, content: Slice): void {
    service.slices.set(slice, content);
    if (!hasReady(service)) service.steady = false;
  }

  /** Called before the write. `change` is undefined for a deleted node. */
  writeNode(name: string, change: Partial<ClusterNode> | undefined): void {
    const node = this.nodes.get(name);
    if (change === undefined) this.nodes.delete(name);
    else this.nodes.set(name, { address: '', ready: false, excluded: false, ...node, ...change });
    if (![...this.nodes.values()].some(isUseful)) this.#nodesSteady = false;
  }

  /** Called before the write. `certificate` is undefined if the Secret is deleted or not usable. */
  writeSecret(namespace: string, name: string, certificate: string | undefined): void {
    const secret = this.secrets.get(`${namespace}/${name}`);
    const had = secret?.had ?? new Set<string>();
    if (certificate !== undefined) had.add(certificate);
    this.secrets.set(`${namespace}/${name}`, { namespace, name, certificate, had, settled: undefined });
  }

  secretOf({ namespace, secret }: Upstream): Secret | undefined {
    return this.secrets.get(`${namespace}/${secret}`);
  }

  /** Called before a write that changes `upstream.backends`. */
  refer(upstream: Upstream): void {
    upstream.referred = [...upstream.referred, ...this.#referencesOf(upstream)];
  }

  /** Called before a write that changes the members of the set or their content. */
  followSet(): void {
    for (const { namespace, name, exists, exposed } of this.services.values()) {
      const id = `${namespace}.${name}-http`;
      const known = this.upstreams.get(id);
      const isWanted = this.set.exists && exists && exposed && this.namespaces.has(namespace);
      if (isWanted && known?.state === 'live') known.retries = this.set.retries;
      else if (isWanted) this.#addMember(namespace, name, id, known !== undefined);
      else if (known !== undefined) known.state = 'deleting';
    }
  }

  #addMember(namespace: string, service: string, id: string, flapped: boolean): void {
    const member: Upstream = {
      namespace,
      name: `${service}-http`,
      id,
      isMember: true,
      manage: 'Object',
      backends: [{ service, weight: 1 }],
      retries: this.set.retries,
      syncPolicy: 'Sync',
      deletionPolicy: 'Delete',
      secret: undefined,
      guarded: true,
      state: 'live',
      referred: [],
      edited: true,
      flapped,
      begun: false,
      settled: undefined,
    };
    this.refer(member);
    this.owned.add(id);
    this.upstreams.set(id, member);
  }

  /** The expected nodes of a backend; undefined if it cannot be resolved. */
  placesOf(namespace: string, { service, mode = this.addressing }: Backend): readonly Place[] | undefined {
    if (mode === 'Registry') return this.registered.placesOf(service);
    return placesOf(this.service(namespace, service), mode, this);
  }

  /** Whether all references of this upstream have always had a ready endpoint since the last checkpoint. */
  isSteady({ namespace, referred }: Upstream): boolean {
    return referred.every(({ service: name, mode }) => {
      if (mode === 'Registry') return this.registered.services.get(name)?.steady === true;
      const service = this.service(namespace, name);
      if (service?.steady !== true) return false;
      if (mode === 'Pod') return true;
      const leads = (placesOf(service, mode, this) ?? []).length > 0;
      // With Local, the nodes with an endpoint may have changed in between.
      const byNodes = this.#nodesSteady && !service.front.isLocal;
      return leads && service.sameFront && (mode !== 'Node' || byNodes);
    });
  }

  /**
   * The places that vanished from the registry and that the removal guard must keep at this time. A change of the spec or of
   * another Service explains a removal.
   */
  heldPlaces({ namespace, guarded, edited, referred }: Upstream, now: number): ReadonlySet<string> {
    const isSettled = referred.every(
      ({ service, mode }) => mode === 'Registry' || this.service(namespace, service)?.sameFront === true,
    );
    if (!guarded || edited || !isSettled) return new Set();
    const lost = referred.flatMap(({ service, mode }) =>
      mode === 'Registry' ? [...this.registered.heldOf(service, now)] : [],
    );
    return new Set(lost);
  }

  /** A checkpoint succeeded: the operator has seen all changes, and the gateway matches the model. */
  checkpoint(): void {
    this.checkpoints += 1;
    this.#nodesSteady = [...this.nodes.values()].some(isUseful);
    for (const service of this.services.values()) {
      service.steady = service.exists && hasReady(service);
      service.sameFront = service.exists;
    }
    this.registered.checkpoint();
    for (const secret of this.secrets.values()) secret.settled = { certificate: secret.certificate };
    for (const upstream of this.upstreams.values()) {
      upstream.referred = this.#referencesOf(upstream);
      upstream.settled = upstream.flapped ? undefined : upstream.syncPolicy;
      upstream.flapped = false;
      upstream.edited = false;
    }
  }

  #referencesOf({ backends }: Upstream): readonly Reference[] {
    return backends.map(({ service, mode = this.addressing }) => ({ service, mode }));
  }
}
