/**
 * What was made in the cluster, and what follows from it for the gateway: worked out here on its own, without a line of
 * the operator's, so that one mistake cannot hide the other.
 */

/** `sick`: neither ready nor serving. `draining`: serving and terminating. `ending`: terminating and no longer serving. */
export type Health = 'ready' | 'sick' | 'draining' | 'ending';

/** Addresses of one EndpointSlice. */
export type Slice = Readonly<Record<string, Health>>;

export interface Service {
  readonly namespace: string;
  readonly name: string;
  exists: boolean;
  readonly slices: Map<string, Slice>;
  /** It had a ready endpoint at the last quiet, and at every moment since. */
  steady: boolean;
}

export interface Backend {
  /** In the namespace of its upstream. */
  readonly service: string;
  readonly weight: number;
}

export type SyncPolicy = 'Sync' | 'UpsertOnly' | 'Observe';
export type DeletionPolicy = 'Delete' | 'Orphan' | 'Force';

export interface Upstream {
  readonly namespace: string;
  readonly name: string;
  readonly id: string;
  backends: readonly Backend[];
  retries: number;
  syncPolicy: SyncPolicy;
  deletionPolicy: DeletionPolicy;
  /** Its removal guard is on; otherwise every removal passes at once. */
  readonly guarded: boolean;
  state: 'live' | 'deleting';
  /** Services that it referred to at any moment since the last quiet. */
  readonly referred: Set<string>;
  /** What it was at the last quiet, as long as nobody changed that since. */
  settled: SyncPolicy | undefined;
}

export interface Node {
  readonly host: string;
  readonly port: number;
  readonly weight: number;
}

export const PORT = 8080;

export class Model {
  readonly namespaces = new Set<string>();
  readonly services = new Map<string, Service>();
  readonly upstreams = new Map<string, Upstream>();
  /** Ids that were an object's at some time, and whose upstream may have stayed behind. */
  readonly orphans = new Set<string>();
  /** Every id that was ours at some time. */
  readonly owned = new Set<string>();
  /** Upstreams of somebody else, as JSON by id. */
  readonly foreign = new Map<string, string>();
  #addresses = 0;

  /** An address that was never used before. */
  newAddress(): string {
    this.#addresses += 1;
    return `10.${Math.floor(this.#addresses / 65_536)}.${(this.#addresses >> 8) % 256}.${this.#addresses % 256}`;
  }

  service(namespace: string, name: string): Service | undefined {
    return this.services.get(`${namespace}/${name}`);
  }

  /** Takes note before the cluster is told: from then on the operator may know. */
  writeSlice(service: Service, slice: string, content: Slice): void {
    service.slices.set(slice, content);
    if (!hasReady(service)) service.steady = false;
  }

  /** The upstream of this id whose object is there. */
  byId(id: string): Upstream | undefined {
    return [...this.upstreams.values()].find((upstream) => upstream.id === id);
  }

  /** Whether every Service that this upstream referred to lately always had a ready endpoint. */
  isSteady(upstream: Upstream): boolean {
    return [...upstream.referred].every((name) => this.service(upstream.namespace, name)?.steady === true);
  }

  /** The operator knows everything by now, and the gateway shows it. */
  quiet(): void {
    for (const service of this.services.values()) service.steady = service.exists && hasReady(service);
    for (const upstream of this.upstreams.values()) {
      upstream.referred.clear();
      for (const { service } of upstream.backends) upstream.referred.add(service);
      upstream.settled = upstream.syncPolicy;
    }
  }

  /** What is wrong with what the gateway holds for this upstream; undefined if nothing is. */
  problemOf(
    upstream: Upstream,
    held: Readonly<Record<string, unknown>> | undefined,
    options: { readonly mayHold: boolean },
  ): string | undefined {
    if (upstream.syncPolicy === 'Observe') return undefined;
    const backends = upstream.backends.map(({ service, weight }) => {
      const found = this.service(upstream.namespace, service);
      return { weight, hosts: found?.exists === true ? hostsOf(found) : undefined };
    });
    if (held === undefined) {
      return backends.every(({ hosts }) => hosts === undefined) ? undefined : 'is missing';
    }
    if (held['retries'] !== upstream.retries) {
      return `has ${String(held['retries'])} retries instead of ${upstream.retries}`;
    }
    const nodes = held['nodes'] as readonly Node[];
    const wanted = new Set(backends.flatMap(({ hosts, weight }) => (weight > 0 ? (hosts ?? []) : [])));
    const missing = [...wanted].filter((host) => !nodes.some((node) => isAt(node, host)));
    if (missing.length > 0) return `lacks ${missing.join(', ')}`;
    const extra = nodes.filter(({ host }) => !wanted.has(host));
    if (extra.length > 0 && !(upstream.guarded && options.mayHold)) {
      return `still has ${extra.map(({ host }) => host).join(', ')}`;
    }
    if (new Set(nodes.map(({ host }) => host)).size !== nodes.length) return 'has one node twice';
    return extra.length > 0 ? undefined : wrongShare(backends, nodes);
  }
}

/** Whether an upstream says of itself that it stays when its object goes. */
export function staysBehind(held: Readonly<Record<string, unknown>> | undefined): boolean {
  const labels = (held?.['labels'] ?? {}) as Readonly<Record<string, string>>;
  return labels['gatewayupstream.dev/deletion-policy'] === 'Orphan';
}

function isAt(node: Node, host: string): boolean {
  return node.host === host && node.port === PORT;
}

function hasReady(service: Service): boolean {
  return [...service.slices.values()].some((slice) => Object.values(slice).includes('ready'));
}

/** Ready ones over all slices; where there is none, those that still serve while they end. */
function hostsOf({ slices }: Service): readonly string[] {
  const entries = [...slices.values()].flatMap((slice) => Object.entries(slice));
  const of = (health: Health) => entries.filter(([, its]) => its === health).map(([host]) => host);
  const ready = of('ready');
  return [...new Set(ready.length > 0 ? ready : of('draining'))];
}

/** Each backend's part of the sum is its part of the weights within 1 %, and a single one's nodes weigh 1. */
function wrongShare(
  backends: readonly { readonly weight: number; readonly hosts: readonly string[] | undefined }[],
  nodes: readonly Node[],
): string | undefined {
  const active = backends.filter(({ weight, hosts = [] }) => weight > 0 && hosts.length > 0);
  if (backends.length === 1) {
    return nodes.every(({ weight }) => weight === 1) ? undefined : 'has nodes that do not weigh 1';
  }
  const sum = nodes.reduce((total, { weight }) => total + weight, 0);
  const weights = active.reduce((total, { weight }) => total + weight, 0);
  for (const { weight, hosts = [] } of active) {
    const part = nodes
      .filter(({ host }) => hosts.includes(host))
      .reduce((total, node) => total + node.weight, 0);
    const ratio = part / sum / (weight / weights);
    if (Math.abs(ratio - 1) > 0.01 + 1e-9) return `gives a backend ${ratio} of its share`;
  }
  return undefined;
}
