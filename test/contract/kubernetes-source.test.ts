import { createStore } from '../../src/kube/store.ts';
import type { ServicePortRef } from '../../src/model/reference.ts';
import { createKubernetesSource } from '../../src/sources/kubernetes/source.ts';
import {
  type ServiceFacts,
  type SliceFacts,
  sliceIndexes,
  transformService,
  transformSlice,
  unreadableService,
  unreadableSlice,
} from '../../src/sources/kubernetes/transform.ts';
import { type Instance, type SourceHarness, testDiscoverySource } from './discovery-source.ts';

/** Like the EndpointSlice controller, but faster. */
const MAX_ENDPOINTS_PER_SLICE = 2;

interface KubernetesHarness extends SourceHarness<ServicePortRef> {
  readonly services: ReturnType<typeof createStore<ServiceFacts>>;
  readonly slices: ReturnType<typeof createStore<SliceFacts>>;
}

function createHarness(): KubernetesHarness {
  const reportError = (error: unknown) => {
    throw error;
  };
  const services = createStore<ServiceFacts>({ indexes: {}, reportError });
  const slices = createStore<SliceFacts>({ indexes: sliceIndexes, reportError });
  const source = createKubernetesSource({ services, slices });
  let version = 0;
  const metadata = (name: string, labels: object = {}) => {
    version += 1;
    return { namespace: 'shop', name, uid: `uid-${name}`, resourceVersion: `${version}`, labels };
  };
  const sliceOf = (service: string, index: number, instances: readonly Instance[]) =>
    transformSlice({
      metadata: metadata(`${service}-${index}`, { 'kubernetes.io/service-name': service }),
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      endpoints: instances.map(({ address, state }) => ({
        addresses: [address],
        conditions: {
          ready: state === 'ready',
          serving: state !== 'notReady',
          terminating: state === 'leaving',
        },
      })),
    }) as SliceFacts;
  const removeSlices = (service: string, from: number) => {
    for (let index = from; ; index += 1) {
      const slice = slices.get('shop', `${service}-${index}`);
      if (slice === undefined) return;
      slices.remove(slice);
    }
  };
  return {
    source,
    services,
    slices,
    ref: (name) => ({
      source: 'Kubernetes',
      namespace: 'shop',
      name,
      port: { by: 'servicePort', port: 'http' },
      protocol: 'TCP',
    }),
    async run(signal) {
      const running = source.run(signal);
      for (const store of [services, slices]) {
        if (store.state.state === 'syncing' && store.state.problem === undefined) {
          store.setState({ state: 'synced' });
        }
      }
      await running;
    },
    async register(service, instances) {
      if (services.get('shop', service) === undefined) {
        const spec = { ports: [{ name: 'http', port: 80 }] };
        services.upsert(transformService({ metadata: metadata(service), spec }) as ServiceFacts);
      }
      const chunks = Math.ceil(instances.length / MAX_ENDPOINTS_PER_SLICE);
      for (let index = 0; index < chunks; index += 1) {
        const from = index * MAX_ENDPOINTS_PER_SLICE;
        slices.upsert(sliceOf(service, index, instances.slice(from, from + MAX_ENDPOINTS_PER_SLICE)));
      }
      removeSlices(service, chunks);
    },
    async remove(service) {
      removeSlices(service, 0);
      const stored = services.get('shop', service);
      if (stored !== undefined) services.remove(stored);
    },
    async [Symbol.asyncDispose]() {},
  };
}

const undo = (repair: () => void): AsyncDisposable => ({ [Symbol.asyncDispose]: async () => repair() });

testDiscoverySource<ServicePortRef, KubernetesHarness>({
  name: 'Kubernetes',
  create: async () => createHarness(),
  faults: {
    async 'the API server does not serve EndpointSlices'({ slices }) {
      slices.setState({ state: 'absent' });
      return undo(() => slices.setState({ state: 'synced' }));
    },
    async 'the API server refuses the first list of Services'({ services }) {
      services.setState({ state: 'syncing', problem: 'HTTP 403' });
      return undo(() => services.setState({ state: 'synced' }));
    },
    async 'an EndpointSlice of an unknown Service cannot be read'({ slices }) {
      const broken = unreadableSlice(
        {
          metadata: {
            namespace: 'shop',
            name: 'broken',
            uid: 'uid-broken',
            resourceVersion: '1',
            labels: { 'kubernetes.io/service-name': 7 },
          },
        },
        'a label is not a string',
      ) as SliceFacts;
      slices.upsert(broken);
      return undo(() => slices.remove(broken));
    },
    async 'the Service cannot be read'({ services }) {
      const stored = services.get('shop', 'web');
      if (stored === undefined) return undo(() => undefined);
      const metadata = { ...stored, resourceVersion: `unreadable-${stored.resourceVersion}` };
      services.upsert(unreadableService({ metadata }, 'a port is no number') as ServiceFacts);
      return undo(() => services.upsert({ ...stored, resourceVersion: `again-${stored.resourceVersion}` }));
    },
  },
});
