import type { ClusterAccess } from './control-plane/cluster-access.ts';

/** Objects for tests, created with requests to the API server, which is faster than kubectl. A rejected request throws. */
export interface Workload {
  readonly namespace: string;
  create(path: string, body: object): Promise<Record<string, unknown>>;
  get(path: string): Promise<Record<string, unknown> | undefined>;
  patch(path: string, body: object): Promise<void>;
  remove(path: string): Promise<void>;
  /** Creates a headless Service without a selector, so that only the test writes its slices. `spec` changes its fields. */
  service(name: string, ports?: readonly ServicePort[], spec?: object): Promise<void>;
  /** Creates or replaces the only slice of a Service. */
  endpoints(service: string, addresses: readonly (string | EndpointSpec)[], port?: number): Promise<void>;
  connection(name: string, spec: ConnectionOptions): Promise<void>;
  upstream(name: string, spec: object): Promise<void>;
  upstreamPath(name: string): string;
  /** The condition of a GatewayUpstream. */
  condition(name: string, type: string): Promise<ConditionView | undefined>;
}

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol?: string;
  readonly nodePort?: number;
}

export interface EndpointSpec {
  readonly address: string;
  readonly nodeName?: string;
  readonly zone?: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

export interface ConnectionOptions {
  readonly adminUrl: string;
  readonly secret: string;
  readonly extra?: object;
}

export interface ConditionView {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

export const GROUP_PATH = '/apis/gatewayupstream.dev/v1alpha1';
const SLICES = '/apis/discovery.k8s.io/v1';

export function connectionPath(name: string): string {
  return `${GROUP_PATH}/gatewayconnections/${name}`;
}

export function createWorkload(cluster: ClusterAccess, namespace: string): Workload {
  const send = async (method: string, path: string, body?: object) => {
    const answer = await cluster.request(method, path, body);
    if (answer.status >= 300 && answer.status !== 404) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
    return answer;
  };
  const create = async (path: string, body: object) => {
    const { status, body: made } = await send('POST', path, body);
    if (status >= 300) throw new Error(`POST ${path}: ${status} ${JSON.stringify(made)}`);
    return made as Record<string, unknown>;
  };
  const upstreamPath = (name: string) => `${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams/${name}`;
  const get = async (path: string) => {
    const { status, body } = await send('GET', path);
    return status === 404 ? undefined : (body as Record<string, unknown>);
  };

  return {
    namespace,
    create,
    get,
    upstreamPath,
    async patch(path, body) {
      const { status } = await send('PATCH', path, body);
      if (status >= 300) throw new Error(`PATCH ${path}: ${status}`);
    },
    async remove(path) {
      await send('DELETE', path);
    },
    async service(name, ports = [{ name: 'http', port: 80 }], spec = { clusterIP: 'None' }) {
      await create(`/api/v1/namespaces/${namespace}/services`, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name },
        spec: { ports, ...spec },
      });
    },
    async endpoints(service, addresses, port = 8080) {
      const path = `${SLICES}/namespaces/${namespace}/endpointslices`;
      const slice = {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `${service}-1`, labels: { 'kubernetes.io/service-name': service } },
        addressType: 'IPv4',
        ports: [{ name: 'http', port, protocol: 'TCP' }],
        endpoints: addresses.map((entry) => {
          if (typeof entry === 'string') return { addresses: [entry], conditions: { ready: true } };
          const { address, nodeName, zone, ...conditions } = entry;
          return { addresses: [address], nodeName, zone, conditions };
        }),
      };
      const { status } = await send('PUT', `${path}/${service}-1`, slice);
      if (status === 404) await create(path, slice);
    },
    async connection(name, { adminUrl, secret, extra }) {
      await create(`${GROUP_PATH}/gatewayconnections`, {
        apiVersion: 'gatewayupstream.dev/v1alpha1',
        kind: 'GatewayConnection',
        metadata: { name },
        spec: {
          type: 'APISIX',
          apisix: { adminUrl, adminKeySecretRef: { name: secret, key: 'admin-key' } },
          allowedNamespaces: { all: true },
          ...extra,
        },
      });
    },
    async upstream(name, spec) {
      await create(`${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams`, {
        apiVersion: 'gatewayupstream.dev/v1alpha1',
        kind: 'GatewayUpstream',
        metadata: { name },
        spec,
      });
    },
    async condition(name, type) {
      const object = await get(upstreamPath(name));
      return conditionOf(object, type);
    },
  };
}

export function conditionOf(
  object: Record<string, unknown> | undefined,
  type: string,
): ConditionView | undefined {
  const { conditions } = (object?.['status'] ?? {}) as { readonly conditions?: readonly ConditionView[] };
  return conditions?.find((condition) => condition.type === type);
}

/** Creates a Secret or replaces its data. */
export async function writeSecret(
  cluster: ClusterAccess,
  namespace: string,
  name: string,
  data: Readonly<Record<string, string>>,
  type = 'Opaque',
): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/secrets`;
  const body = { apiVersion: 'v1', kind: 'Secret', type, metadata: { name }, stringData: data };
  const { status } = await cluster.request('PATCH', `${path}/${name}`, { stringData: data });
  if (status === 404) await cluster.request('POST', path, body);
}
