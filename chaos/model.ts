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

/**
 * What was made in the cluster: `places.ts` and `comparison.ts` work out what follows from it for the gateway, on their
 * own, without a line of the operator's, so that one mistake cannot hide the other.
 */

export interface Backend {
  /** In the namespace of its upstream. */
  readonly service: string;
  readonly weight: number;
  /** Absent: the connection's. */
  readonly mode?: Mode;
}

export type SyncPolicy = 'Sync' | 'UpsertOnly' | 'Observe';
export type DeletionPolicy = 'Delete' | 'Orphan' | 'Force';

export interface Upstream {
  readonly namespace: string;
  readonly name: string;
  readonly id: string;
  /** The set makes its object, and deletes it. */
  readonly isMember: boolean;
  /** `Nodes`: somebody else owns it, and its nodes alone are ours. */
  readonly manage: 'Object' | 'Nodes';
  backends: readonly Backend[];
  retries: number;
  syncPolicy: SyncPolicy;
  deletionPolicy: DeletionPolicy;
  /** The Secret of its namespace whose certificate the gateway shows. */
  readonly secret: string | undefined;
  /** Its removal guard is on; otherwise every removal passes at once. */
  readonly guarded: boolean;
  state: 'live' | 'deleting';
  /** What its backends led to at any moment since the last quiet. */
  referred: readonly Reference[];
  /** Its object went and came again since the last quiet: the operator may be about to see that. */
  flapped: boolean;
  /** With `manage: Nodes`: they were written once, so that ours is what it has even where that is nothing. */
  begun: boolean;
  /** What it was at the last quiet, as long as nobody changed that since. */
  settled: SyncPolicy | undefined;
}

/** A Service of the namespace of an upstream, and how it is reached. */
interface Reference {
  readonly service: string;
  readonly mode: Mode;
}

/** A key pair for gateways to show. */
export interface Secret {
  readonly namespace: string;
  readonly name: string;
  /** Undefined where it is not there, or its key is another one's. */
  certificate: string | undefined;
  /** All that it ever had. */
  readonly had: Set<string>;
  /** What it had at the last quiet, as long as nobody changed that since. */
  settled: Pick<Secret, 'certificate'> | undefined;
}

export class Model {
  readonly namespaces = new Set<string>();
  readonly services = new Map<string, Service>();
  readonly nodes = new Map<string, ClusterNode>();
  /** The node of each endpoint. */
  readonly homes = new Map<string, string>();
  readonly secrets = new Map<string, Secret>();
  /** Those whose objects are there, by id. */
  readonly upstreams = new Map<string, Upstream>();
  /** Ids that were an object's at some time, and whose upstream may have stayed behind. */
  readonly orphans = new Set<string>();
  /** Every id that was ours at some time. */
  readonly owned = new Set<string>();
  /** Upstreams of somebody else, as JSON by id. */
  readonly foreign = new Map<string, string>();
  /** What their owners wrote into the upstreams of which nodes alone are ours, as JSON by id; undefined: it is not there. */
  readonly kept = new Map<string, string | undefined>();
  /** How often all was right. */
  quiets = 0;
  /** The set, and what its template says. */
  readonly set = { exists: false, retries: 1 };
  /** How backends are reached that say nothing of it. */
  #addressing: Mode = 'Pod';
  /** Some node was of use at the last quiet, and at every moment since. */
  #nodesSteady = false;
  #addresses = 0;

  /** An address that was never used before. */
  newAddress(): string {
    this.#addresses += 1;
    return `10.${Math.floor(this.#addresses / 65_536)}.${(this.#addresses >> 8) % 256}.${this.#addresses % 256}`;
  }

  /** One of an endpoint, on the next one of the nodes that there are. */
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

  /** Takes note before the cluster is told: from then on the operator may know. */
  writeSlice(service: Service, slice: string, content: Slice): void {
    service.slices.set(slice, content);
    if (!hasReady(service)) service.steady = false;
  }

  /** The same; `change` is undefined for a node that goes. */
  writeNode(name: string, change: Partial<ClusterNode> | undefined): void {
    const node = this.nodes.get(name);
    if (change === undefined) this.nodes.delete(name);
    else this.nodes.set(name, { address: '', ready: false, excluded: false, ...node, ...change });
    if (![...this.nodes.values()].some(isUseful)) this.#nodesSteady = false;
  }

  /** The same; `certificate` is undefined for one that goes, or is of no use. */
  writeSecret(namespace: string, name: string, certificate: string | undefined): void {
    const secret = this.secrets.get(`${namespace}/${name}`);
    const had = secret?.had ?? new Set<string>();
    if (certificate !== undefined) had.add(certificate);
    this.secrets.set(`${namespace}/${name}`, { namespace, name, certificate, had, settled: undefined });
  }

  secretOf({ namespace, secret }: Upstream): Secret | undefined {
    return this.secrets.get(`${namespace}/${secret}`);
  }

  /** The same for `upstream.backends`. */
  refer(upstream: Upstream): void {
    upstream.referred = [...upstream.referred, ...this.#referencesOf(upstream)];
  }

  /** The same for everything that decides which upstreams the set has, and what they are. */
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
      flapped,
      begun: false,
      settled: undefined,
    };
    this.refer(member);
    this.owned.add(id);
    this.upstreams.set(id, member);
  }

  /** Where `backend` of an upstream of `namespace` leads; undefined: nowhere. */
  placesOf(namespace: string, { service, mode = this.addressing }: Backend): readonly Place[] | undefined {
    return placesOf(this.service(namespace, service), mode, this);
  }

  /** Whether everything that this upstream referred to lately always led to something ready. */
  isSteady({ namespace, referred }: Upstream): boolean {
    return referred.every(({ service: name, mode }) => {
      const service = this.service(namespace, name);
      if (service?.steady !== true) return false;
      if (mode === 'Pod') return true;
      const leads = (placesOf(service, mode, this) ?? []).length > 0;
      // A node with an endpoint may have been another one from time to time.
      const byNodes = this.#nodesSteady && !service.front.isLocal;
      return leads && service.sameFront && (mode !== 'Node' || byNodes);
    });
  }

  /** The operator knows everything by now, and the gateway shows it. */
  quiet(): void {
    this.quiets += 1;
    this.#nodesSteady = [...this.nodes.values()].some(isUseful);
    for (const service of this.services.values()) {
      service.steady = service.exists && hasReady(service);
      service.sameFront = service.exists;
    }
    for (const secret of this.secrets.values()) secret.settled = { certificate: secret.certificate };
    for (const upstream of this.upstreams.values()) {
      upstream.referred = this.#referencesOf(upstream);
      upstream.settled = upstream.flapped ? undefined : upstream.syncPolicy;
      upstream.flapped = false;
    }
  }

  #referencesOf({ backends }: Upstream): readonly Reference[] {
    return backends.map(({ service, mode = this.addressing }) => ({ service, mode }));
  }
}
