import type { PortRef, ServicePortRef } from '../core/desired.ts';
import {
  identityIn,
  objectIn,
  optional,
  optionalObject,
  optionalObjects,
  optionalTexts,
} from '../core/json.ts';
import { type Discovered, type Endpoint, type IpFamily, objectKey, type Protocol } from '../core/model.ts';
import type { Stored, StoreView } from '../kube/store.ts';
import { Departures } from './departures.ts';
import type { DiscoverySource } from './source.ts';

/** What is kept of a Service. */
export interface ServiceFacts extends Stored {
  /** RFC 3339. */
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly type: string;
  readonly ipFamilies: readonly IpFamily[];
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: string }[];
  /** Selector and ports as text: what decides which endpoints the Service has. */
  readonly basis: string;
}

/** What is kept of an EndpointSlice. */
export interface SliceFacts extends Stored {
  readonly service: string;
  readonly family: IpFamily;
  readonly ports: readonly {
    readonly name: string;
    readonly port: number | undefined;
    readonly protocol: string;
  }[];
  readonly endpoints: readonly Omit<Endpoint, 'port' | 'family'>[];
}

export const serviceIndexes = {
  namespace: (service: ServiceFacts): readonly string[] => [service.namespace],
};

/** The name of the index of slices by their Service, `namespace/name`. */
const BY_SERVICE = 'service';

export const sliceIndexes = {
  [BY_SERVICE]: (slice: SliceFacts): readonly string[] => [objectKey(slice.namespace, slice.service)],
};

function isFamily(value: unknown): value is IpFamily {
  return value === 'IPv4' || value === 'IPv6';
}

/** A Service as the API server gives it, cut down; undefined if it is none. Throws for one that cannot be read. */
export function trimService(value: unknown): ServiceFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const metadata = objectIn(object['metadata']);
  const spec = optionalObject(object['spec']);
  const selector = Object.entries(optionalObject(spec['selector'])).map(
    ([key, entry]) => [key, optional(entry, 'string')] as const,
  );
  return {
    ...identity,
    creationTimestamp: optional(metadata['creationTimestamp'], 'string') ?? '',
    labels: Object.fromEntries(
      Object.entries(optionalObject(metadata['labels'])).map(([key, label]) => [
        key,
        optional(label, 'string') ?? '',
      ]),
    ),
    type: optional(spec['type'], 'string') ?? 'ClusterIP',
    ipFamilies: optionalTexts(spec['ipFamilies']).filter(isFamily),
    ports: optionalObjects(spec['ports']).flatMap(({ name, port, protocol }) => {
      const number = optional(port, 'number');
      const named = { name: optional(name, 'string') ?? '', protocol: optional(protocol, 'string') ?? 'TCP' };
      return number === undefined ? [] : [{ ...named, port: number }];
    }),
    basis: JSON.stringify([selector.sort(), spec['ports']]),
  };
}

/**
 * An EndpointSlice as the API server gives it, cut down; undefined if it has no Service or no IP addresses. Throws for
 * one that cannot be read: endpoints that cannot be read are not gone.
 */
export function trimSlice(value: unknown): SliceFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const labels = optionalObject(objectIn(object['metadata'])['labels']);
  const service = optional(labels['kubernetes.io/service-name'], 'string') ?? '';
  const family = optional(object['addressType'], 'string');
  if (service === '' || !isFamily(family)) return undefined;
  return {
    ...identity,
    service,
    family,
    ports: optionalObjects(object['ports']).map(({ name, port, protocol }) => ({
      name: optional(name, 'string') ?? '',
      port: optional(port, 'number'),
      protocol: optional(protocol, 'string') ?? 'TCP',
    })),
    endpoints: optionalObjects(object['endpoints']).flatMap((endpoint) => {
      // The entries of `addresses` are fungible: the first one counts (discovery.k8s.io/v1).
      const [address = ''] = optionalTexts(endpoint['addresses']);
      if (address === '') return [];
      const conditions = optionalObject(endpoint['conditions']);
      const target = optional(optionalObject(endpoint['targetRef'])['uid'], 'string') ?? '';
      return [
        {
          address,
          ...(target === '' ? {} : { target }),
          ready: optional(conditions['ready'], 'boolean') ?? true,
          serving: optional(conditions['serving'], 'boolean') ?? true,
          terminating: optional(conditions['terminating'], 'boolean') ?? false,
        },
      ];
    }),
  };
}

/** What `service` and its `slices` say about `ref`. Pure. */
export function resolveService(
  ref: ServicePortRef,
  service: ServiceFacts | undefined,
  slices: readonly SliceFacts[],
): Discovered {
  const where = `Service ${ref.namespace}/${ref.name}`;
  if (service === undefined) {
    return {
      state: 'absent',
      reason: 'ServiceNotFound',
      message: `${where} does not exist: create it or correct the reference`,
    };
  }
  if (service.type === 'ExternalName') {
    return {
      state: 'absent',
      reason: 'ServiceNotFound',
      message: `${where} is of type ExternalName and has no endpoints: use a backend with addresses`,
    };
  }
  const port = findPort(ref.port, ref.protocol, service, slices);
  if (port.state === 'absent') return { ...port, message: `${where} ${port.message}` };
  return {
    state: 'known',
    preferredFamily: service.ipFamilies[0] ?? 'IPv4',
    basis: service.basis,
    endpoints: slices.flatMap((slice): Endpoint[] => {
      const number = slice.ports.find(
        (candidate) =>
          candidate.name === port.name &&
          candidate.protocol === ref.protocol &&
          (port.number === undefined || candidate.port === port.number),
      )?.port;
      return slice.endpoints.map((endpoint) => ({
        ...endpoint,
        family: slice.family,
        ...(number === undefined ? {} : { port: number }),
      }));
    }),
  };
}

type FoundPort =
  /** `number`: only an endpoint port of this number will do. */
  | { readonly state: 'found'; readonly name: string; readonly number: number | undefined }
  | Extract<Discovered, { state: 'absent' }>;

function findPort(
  ref: PortRef,
  protocol: Protocol,
  service: ServiceFacts,
  slices: readonly SliceFacts[],
): FoundPort {
  const wanted =
    ref.by === 'endpointPort' && /^[0-9]+$/.test(ref.port)
      ? { label: `unnamed port ${ref.port}`, name: '', number: Number(ref.port) }
      : { label: `port ${ref.port}`, name: ref.port, number: undefined };
  // APISIX's discovery looks at endpoints only: slices made by hand may have ports that their Service does not name.
  const ports = ref.by === 'endpointPort' ? slices.flatMap((slice) => slice.ports) : [];
  const candidates = [...service.ports, ...ports].filter((port) =>
    ref.by === 'servicePort' && typeof ref.port === 'number'
      ? port.port === ref.port
      : port.name === wanted.name,
  );
  if (candidates.length === 0) {
    const known = service.ports.map(({ name, port }) => (name === '' ? `${port}` : `${port} (${name})`));
    return {
      state: 'absent',
      reason: 'PortNotFound',
      message: `has no ${wanted.label}, but ${known.length === 0 ? 'no ports at all' : known.join(', ')}: correct the port`,
    };
  }
  const match = candidates.find((port) => port.protocol === protocol);
  if (match === undefined) {
    const others = new Set(candidates.map((port) => port.protocol));
    return {
      state: 'absent',
      reason: 'UnsupportedProtocol',
      message: `has ${wanted.label} for ${[...others].join(' and ')} only, but this scheme needs ${protocol}: use another port, or another scheme`,
    };
  }
  return { state: 'found', name: match.name, number: wanted.number };
}

export interface KubernetesSourceOptions {
  readonly services: StoreView<ServiceFacts>;
  /** With `sliceIndexes`. */
  readonly slices: StoreView<SliceFacts>;
}

/** Services and their EndpointSlices: all slices of a Service merged. */
export function createKubernetesSource({
  services,
  slices,
}: KubernetesSourceOptions): DiscoverySource<ServicePortRef> {
  const subscriptions = new Map<string, Set<() => void>>();
  const departed = new Departures();
  const notify = (namespace: string, name: string) => {
    for (const changed of subscriptions.get(objectKey(namespace, name)) ?? []) changed();
  };
  const notifyAll = () => {
    for (const listeners of subscriptions.values()) for (const changed of listeners) changed();
  };

  return {
    type: 'kubernetes',

    async run(signal) {
      using _services = services.onChange(({ previous, current }) => {
        const service = current ?? previous;
        if (service !== undefined) notify(service.namespace, service.name);
      });
      using _slices = slices.onChange((event) => {
        const { previous, current } = event;
        departed.note(event);
        if (previous !== undefined) notify(previous.namespace, previous.service);
        if (current !== undefined && current.service !== previous?.service) {
          notify(current.namespace, current.service);
        }
      });
      using _servicesState = services.onState(notifyAll);
      using _slicesState = slices.onState(notifyAll);
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      }
    },

    subscribe(ref, changed) {
      const key = objectKey(ref.namespace, ref.name);
      const listeners = subscriptions.get(key) ?? new Set();
      subscriptions.set(key, listeners.add(changed));
      return {
        [Symbol.dispose]() {
          listeners.delete(changed);
          if (listeners.size === 0 && subscriptions.get(key) === listeners) subscriptions.delete(key);
        },
      };
    },

    read(ref) {
      for (const [kind, store] of [
        ['Services', services],
        ['EndpointSlices', slices],
      ] as const) {
        if (store.state.state === 'synced') continue;
        const problem =
          store.state.state === 'syncing' ? store.state.problem : 'the API server does not serve them';
        return {
          state: 'unknown',
          beginning: problem === undefined,
          message: `${kind} are not known (${problem ?? 'not listed yet'}): the gateway keeps what it has`,
        };
      }
      return resolveService(
        ref,
        services.get(ref.namespace, ref.name),
        slices.byIndex(BY_SERVICE, objectKey(ref.namespace, ref.name)),
      );
    },

    departure({ namespace, name }, address) {
      const terminating = departed.wasTerminating(namespace, name, address);
      if (terminating === undefined) return 'unknown';
      return terminating ? 'explained' : 'vanished';
    },

    listedElsewhere(refs, addresses) {
      const own = new Set(refs.map(({ namespace, name }) => objectKey(namespace, name)));
      const listed = new Set<string>();
      for (const slice of slices.list()) {
        if (own.has(objectKey(slice.namespace, slice.service))) continue;
        for (const { address } of slice.endpoints) if (addresses.has(address)) listed.add(address);
      }
      return listed;
    },
  };
}
