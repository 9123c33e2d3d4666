import { type Front, GONE, PORT, SERVICE_PORT, type Service, type Shape, type Slice } from './places.ts';
import type { Site } from './site.ts';

export const EXPOSED_LABEL = 'chaos.example.com/exposed';
const NO_FRONT: Front = {
  shape: 'Headless',
  clusterIp: undefined,
  nodePort: undefined,
  balancers: [],
  isLocal: false,
};

/** A Service as the API server returns it. */
interface ServiceView {
  readonly spec: {
    readonly type: Shape;
    readonly externalTrafficPolicy?: string;
    readonly clusterIP: string;
    readonly ports: readonly { readonly nodePort?: number }[];
  };
  readonly status: {
    readonly loadBalancer?: {
      readonly ingress?: readonly { readonly ip?: string; readonly hostname?: string }[];
    };
  };
}

/** Creates the EndpointSlices before the Service. */
export async function makeService(
  site: Site,
  namespace: string,
  name: string,
  {
    slices,
    shape,
    exposed,
    isLocal,
  }: {
    readonly slices: readonly Slice[];
    readonly shape: Shape;
    readonly exposed: boolean;
    readonly isLocal: boolean;
  },
): Promise<Service> {
  const service = site.model.service(namespace, name) ?? {
    namespace,
    name,
    exists: false,
    exposed,
    front: NO_FRONT,
    slices: new Map(),
    steady: false,
    sameFront: false,
  };
  site.model.services.set(`${namespace}/${name}`, service);
  for (const [index, slice] of slices.entries()) await writeSlice(site, service, `${name}-${index}`, slice);
  Object.assign(service, { exists: true, exposed });
  site.model.followSet();
  await site.api.create(`/api/v1/namespaces/${namespace}/services`, {
    metadata: { name, labels: exposed ? { [EXPOSED_LABEL]: 'true' } : {} },
    // Without a selector, only the suite writes its slices.
    spec: {
      ...(shape === 'Headless' ? { clusterIP: 'None' } : typeOf(shape, isLocal)),
      ports: [{ name: 'http', port: SERVICE_PORT }],
    },
  });
  await lookAtFront(site, service);
  return service;
}

/** Changes the type. The new type is not headless. */
export async function reshapeService(
  site: Site,
  service: Service,
  shape: Shape,
  isLocal: boolean,
): Promise<void> {
  service.sameFront = false;
  await site.api.patch(servicePath(service), { spec: typeOf(shape, isLocal) });
  await lookAtFront(site, service);
}

/** Writes the addresses or names of a load balancer. */
export async function writeBalancers(
  site: Site,
  service: Service,
  balancers: readonly string[],
): Promise<void> {
  service.sameFront = false;
  const ingress = balancers.map((host) => (/^[0-9.]+$/.test(host) ? { ip: host } : { hostname: host }));
  await site.api.patch(`${servicePath(service)}/status`, { status: { loadBalancer: { ingress } } });
  await lookAtFront(site, service);
}

export async function removeService(site: Site, service: Service): Promise<void> {
  Object.assign(service, GONE);
  site.model.followSet();
  await site.api.remove(servicePath(service));
}

async function lookAtFront(site: Site, service: Service): Promise<void> {
  const { spec, status } = (await site.api.get(servicePath(service))) as unknown as ServiceView;
  const isHeadless = spec.clusterIP === 'None';
  service.front = {
    shape: isHeadless ? 'Headless' : spec.type,
    clusterIp: isHeadless ? undefined : spec.clusterIP,
    nodePort: spec.ports[0]?.nodePort,
    isLocal: spec.externalTrafficPolicy === 'Local',
    balancers: (status.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => ip ?? hostname ?? []),
  };
}

export async function writeSlice(site: Site, service: Service, name: string, content: Slice): Promise<void> {
  site.model.writeSlice(service, name, content);
  await site.api.replace(`/apis/discovery.k8s.io/v1/namespaces/${service.namespace}/endpointslices`, name, {
    metadata: { name, labels: { 'kubernetes.io/service-name': service.name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: PORT, protocol: 'TCP' }],
    endpoints: Object.entries(content).map(([address, health]) => ({
      addresses: [address],
      nodeName: site.model.homes.get(address),
      conditions: {
        ready: health === 'ready',
        serving: health === 'ready' || health === 'draining',
        terminating: health === 'draining' || health === 'ending',
      },
    })),
  });
}

/** Adds or removes the label that the set selects. */
export async function exposeService(site: Site, service: Service, exposed: boolean): Promise<void> {
  service.exposed = exposed;
  site.model.followSet();
  const labels = { [EXPOSED_LABEL]: exposed ? 'true' : null };
  await site.api.patch(servicePath(service), { metadata: { labels } });
}

/** `isLocal` applies only to types with external traffic. */
function typeOf(shape: Shape, isLocal: boolean): object {
  const policy = isLocal ? 'Local' : 'Cluster';
  return { type: shape, externalTrafficPolicy: shape === 'ClusterIP' ? null : policy };
}

function servicePath({ namespace, name }: Service): string {
  return `/api/v1/namespaces/${namespace}/services/${name}`;
}
