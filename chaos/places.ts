/** The expected nodes of a Service for each addressing mode. */

/** `sick`: neither ready nor serving. `draining`: serving and terminating. `ending`: terminating and no longer serving. */
export type Health = 'ready' | 'sick' | 'draining' | 'ending';

/** The endpoints of one EndpointSlice. */
export type Slice = Readonly<Record<string, Health>>;

export const SHAPES = ['Headless', 'ClusterIP', 'NodePort', 'LoadBalancer'] as const;
export type Shape = (typeof SHAPES)[number];
export type Mode = 'Pod' | 'Node' | 'LoadBalancer' | 'ClusterIP' | 'DNS';

/** The addresses that the API server and a load balancer assigned to a Service. */
export interface Front {
  readonly shape: Shape;
  readonly clusterIp: string | undefined;
  readonly nodePort: number | undefined;
  readonly balancers: readonly string[];
  /** `externalTrafficPolicy: Local`: a node drops traffic if it has no endpoint. */
  readonly isLocal: boolean;
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  exists: boolean;
  /** It has the label that the set selects. */
  exposed: boolean;
  front: Front;
  readonly slices: Map<string, Slice>;
  /** It has always had a ready endpoint since the last checkpoint. */
  steady: boolean;
  /** `front` has not changed since the last checkpoint. */
  sameFront: boolean;
}

/** The state of a deleted Service. */
export const GONE = { exists: false, steady: false, sameFront: false } as const;

/** A node of the cluster. */
export interface ClusterNode {
  readonly address: string;
  ready: boolean;
  /** Its label excludes it from external load balancers. */
  excluded: boolean;
}

/** The cluster nodes, and the node of each endpoint. */
export interface Ground {
  readonly nodes: ReadonlyMap<string, ClusterNode>;
  readonly homes: ReadonlyMap<string, string>;
}

export interface Place {
  readonly host: string;
  readonly port: number;
  /** Its share of its backend, relative to the other places. Default: 1. */
  readonly weight?: number;
}

/** The port of endpoints. */
export const PORT = 8080;
/** The port of Services. */
export const SERVICE_PORT = 80;

export const MODES_OF: Readonly<Record<Shape, readonly Mode[]>> = {
  Headless: ['Pod', 'DNS'],
  ClusterIP: ['Pod', 'DNS', 'ClusterIP'],
  NodePort: ['Pod', 'DNS', 'ClusterIP', 'Node'],
  LoadBalancer: ['Pod', 'DNS', 'ClusterIP', 'Node', 'LoadBalancer'],
};

export function hasReady({ slices }: Service): boolean {
  return [...slices.values()].some((slice) => Object.values(slice).includes('ready'));
}

export function isUseful({ ready, excluded }: ClusterNode): boolean {
  return ready && !excluded;
}

/** Undefined if the Service does not exist or does not support `mode`. */
export function placesOf(
  service: Service | undefined,
  mode: Mode,
  { nodes, homes }: Ground,
): readonly Place[] | undefined {
  if (service?.exists !== true) return undefined;
  const { namespace, name, front } = service;
  const hosts = hostsOf(service);
  const at = (host: string, port: number) => ({ host, port });
  const ifUsed = (places: readonly Place[]) => (hosts.length === 0 ? [] : places);
  switch (mode) {
    case 'Pod':
      return hosts.map((host) => at(host, PORT));
    case 'DNS':
      // The name of a headless Service resolves to its endpoints.
      return ifUsed([
        at(`${name}.${namespace}.svc.cluster.local`, front.shape === 'Headless' ? PORT : SERVICE_PORT),
      ]);
    case 'ClusterIP':
      return front.clusterIp === undefined ? undefined : ifUsed([at(front.clusterIp, SERVICE_PORT)]);
    case 'LoadBalancer':
      return front.balancers.length === 0
        ? undefined
        : ifUsed(front.balancers.map((host) => at(host, SERVICE_PORT)));
    case 'Node': {
      const { nodePort } = front;
      if (nodePort === undefined) return undefined;
      const homesOfHosts = new Set(hosts.map((host) => homes.get(host)));
      const serving = [...nodes].filter(
        ([node, its]) => isUseful(its) && (!front.isLocal || homesOfHosts.has(node)),
      );
      return ifUsed(serving.map(([, { address }]) => at(address, nodePort)));
    }
    default:
      return mode satisfies never;
  }
}

/** The ready endpoints of all slices, or the terminating ones that still serve if none is ready. */
function hostsOf({ slices }: Service): readonly string[] {
  const entries = [...slices.values()].flatMap((slice) => Object.entries(slice));
  const of = (health: Health) => entries.filter(([, its]) => its === health).map(([host]) => host);
  const ready = of('ready');
  return [...new Set(ready.length > 0 ? ready : of('draining'))];
}
