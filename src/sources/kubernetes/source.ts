import { unlisted, unreadableObject } from '../../decide/listing.ts';
import type { Discovered } from '../../model/discovered.ts';
import type { Endpoint, IpFamily, Protocol, ServiceFront, ServicePort } from '../../model/endpoint.ts';
import { objectKey } from '../../model/keys.ts';
import type { PortRef, ServicePortRef } from '../../model/reference.ts';
import type { Stored, StoreView } from '../../model/store-view.ts';
import { interned } from '../../runtime/interned.ts';
import {
  identityIn,
  type JsonObject,
  labelsIn,
  objectIn,
  optional,
  optionalObject,
  optionalObjects,
  optionalTexts,
  textIn,
} from '../../runtime/json.ts';
import { MultiMap } from '../../runtime/multi-map.ts';
import type { DiscoverySource, SourceChange } from '../source.ts';
import { RemovedEndpoints } from './removed-endpoints.ts';

/** What is kept of a Service. */
export interface ServiceFacts extends Stored, Omit<ServiceFront, 'namespace' | 'name' | 'port'> {
  /** RFC 3339. */
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ipFamilies: readonly IpFamily[];
  /** Of type ExternalName: the name, in lower case and without the dot that ends a complete one. */
  readonly externalName: string;
  readonly ports: readonly ServicePort[];
  /** Selector, ports and type as text: what decides which endpoints the Service has, and how they are reached. */
  readonly basis: string;
  /** Why nothing else is known of it; absent for one that was read. */
  readonly unreadable?: string;
}

/** Endpoints that have their ports in common. */
export interface SliceContent {
  readonly family: IpFamily;
  readonly ports: readonly {
    readonly name: string;
    readonly port: number | undefined;
    readonly protocol: string;
  }[];
  readonly endpoints: readonly Omit<Endpoint, 'port' | 'family'>[];
}

/** In place of the name of a Service: it may be any of the namespace. */
const ANY_SERVICE = '';

/** What is kept of an EndpointSlice. */
export interface SliceFacts extends Stored, SliceContent {
  /** Name of its Service; empty where that cannot be read. */
  readonly service: string;
  /** Why its content is not known; absent for one that was read. */
  readonly unreadable?: string;
}

/** What is kept of a v1 Endpoints object. */
export interface EndpointsFacts extends Stored {
  readonly slices: readonly SliceContent[];
  /** Why its content is not known; absent for one that was read. */
  readonly unreadable?: string;
}

/** Names the Service of an EndpointSlice. */
export const SERVICE_LABEL = 'kubernetes.io/service-name';

/** Selects EndpointSlices that belong to a Service. */
export const SLICES_OF_SERVICES = { labelSelector: SERVICE_LABEL };

/** Selects Endpoints that Kubernetes did not make of a Service's own Pods; those are marked since 1.33. */
export const UNMANAGED_ENDPOINTS = { labelSelector: '!endpoints.kubernetes.io/managed-by' };

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
export function transformService(value: unknown): ServiceFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const metadata = objectIn(object['metadata']);
  const spec = optionalObject(object['spec']);
  const selector = Object.entries(optionalObject(spec['selector'])).map(
    ([key, entry]) => [key, optional(entry, 'string')] as const,
  );
  const type = optional(spec['type'], 'string') ?? 'ClusterIP';
  const externalTrafficPolicy = optional(spec['externalTrafficPolicy'], 'string');
  const addresses = optionalTexts(spec['clusterIPs'] ?? [spec['clusterIP'] ?? '']);
  const { namespace, name, uid, resourceVersion } = identity;
  // One literal, here and below: an object that is put together of others takes half as much again.
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    creationTimestamp: interned(optional(metadata['creationTimestamp'], 'string') ?? ''),
    labels: labelsIn(object),
    type,
    isHeadless: addresses.includes('None'),
    clusterIps: addresses.filter((one) => one !== '' && one !== 'None'),
    loadBalancer:
      type === 'LoadBalancer' ? balancersIn(optionalObject(object['status'])['loadBalancer']) : [],
    isLocal: externalTrafficPolicy === 'Local',
    externalName: (optional(spec['externalName'], 'string') ?? '').toLowerCase().replace(/\.$/, ''),
    ipFamilies: optionalTexts(spec['ipFamilies']).filter(isFamily),
    ports: defined(optionalObjects(spec['ports']).map(servicePortIn)),
    basis: JSON.stringify([selector.sort(), spec['ports'], type, externalTrafficPolicy]),
  };
}

function servicePortIn(port: JsonObject): ServicePort | undefined {
  const number = optional(port['port'], 'number');
  if (number === undefined) return undefined;
  const nodePort = optional(port['nodePort'], 'number') ?? 0;
  const appProtocol = optional(port['appProtocol'], 'string');
  return {
    name: optional(port['name'], 'string') ?? '',
    port: number,
    protocol: optional(port['protocol'], 'string') ?? 'TCP',
    // 0: none was given out yet.
    nodePort: nodePort === 0 ? undefined : nodePort,
    appProtocol,
  };
}

function balancersIn(status: unknown): readonly string[] {
  return optionalObjects(optionalObject(status)['ingress']).flatMap(({ ip, hostname }) => {
    const host = optional(ip, 'string') ?? optional(hostname, 'string')?.toLowerCase();
    return host === undefined || host === '' ? [] : [host];
  });
}

/**
 * An EndpointSlice as the API server gives it, cut down; undefined if it has no Service or no IP addresses. Throws for
 * one that cannot be read: endpoints that cannot be read are not gone.
 */
export function transformSlice(value: unknown): SliceFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const labels = optionalObject(objectIn(object['metadata'])['labels']);
  const service = optional(labels[SERVICE_LABEL], 'string') ?? '';
  const family = optional(object['addressType'], 'string');
  if (service === '' || !isFamily(family)) return undefined;
  const { namespace, name, uid, resourceVersion } = identity;
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    service,
    family,
    ports: portsIn(object['ports']),
    endpoints: defined(optionalObjects(object['endpoints']).map(endpointIn)),
  };
}

/** The entries that are there. Not by `flatMap`, whose lists keep room for as many again. */
function defined<T>(list: readonly (T | undefined)[]): readonly T[] {
  const isDefined = (entry: T | undefined): entry is T => entry !== undefined;
  return list.every(isDefined) ? list : list.filter(isDefined);
}

function endpointIn(endpoint: JsonObject): SliceContent['endpoints'][number] | undefined {
  // The entries of `addresses` are fungible: the first one counts (discovery.k8s.io/v1).
  const [address = ''] = optionalTexts(endpoint['addresses']);
  if (address === '') return undefined;
  const conditions = optionalObject(endpoint['conditions']);
  const target = optional(optionalObject(endpoint['targetRef'])['uid'], 'string') ?? '';
  const node = optional(endpoint['nodeName'], 'string') ?? '';
  const zone = optional(endpoint['zone'], 'string') ?? '';
  const ready = optional(conditions['ready'], 'boolean') ?? true;
  const serving = optional(conditions['serving'], 'boolean') ?? true;
  const terminating = optional(conditions['terminating'], 'boolean') ?? false;
  if (target === '' && node === '' && zone === '') return { address, ready, serving, terminating };
  return {
    address,
    target: target === '' ? undefined : target,
    node: node === '' ? undefined : interned(node),
    zone: zone === '' ? undefined : interned(zone),
    ready,
    serving,
    terminating,
  };
}

/** A v1 Endpoints object as the API server gives it, cut down; undefined if it is none. Throws like `transformSlice`. */
export function trimEndpoints(value: unknown): EndpointsFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  if (identity === undefined) return undefined;
  const slices = optionalObjects(object['subsets']).flatMap(({ addresses, notReadyAddresses, ports }) => {
    const endpoints = [...addressesIn(addresses, true), ...addressesIn(notReadyAddresses, false)];
    return (['IPv4', 'IPv6'] as const).flatMap((family): SliceContent[] => {
      const ofFamily = endpoints.filter(({ address }) => address.includes(':') === (family === 'IPv6'));
      return ofFamily.length === 0 ? [] : [{ family, ports: portsIn(ports), endpoints: ofFamily }];
    });
  });
  return { ...identity, slices };
}

/** Stands for a Service that is there and cannot be read. */
export function unreadableService(value: unknown, why: string): ServiceFacts | undefined {
  const identity = identityIn(objectIn(value));
  return (
    identity && {
      ...identity,
      creationTimestamp: '',
      labels: {},
      type: '',
      isHeadless: false,
      clusterIps: [],
      loadBalancer: [],
      isLocal: false,
      externalName: '',
      ipFamilies: [],
      ports: [],
      basis: '',
      unreadable: why,
    }
  );
}

/** Stands for an EndpointSlice of a Service that is there and cannot be read, not even whose it is where that is empty. */
export function unreadableSlice(value: unknown, why: string): SliceFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  const service = textIn(objectIn(objectIn(object['metadata'])['labels'])[SERVICE_LABEL], ANY_SERVICE);
  return identity && { ...identity, service, family: 'IPv4', ports: [], endpoints: [], unreadable: why };
}

/** Stands for an Endpoints object that is there and cannot be read. */
export function unreadableEndpoints(value: unknown, why: string): EndpointsFacts | undefined {
  const identity = identityIn(objectIn(value));
  return identity && { ...identity, slices: [], unreadable: why };
}

function addressesIn(list: unknown, ready: boolean): SliceContent['endpoints'] {
  return optionalObjects(list).flatMap(({ ip, nodeName }) => {
    const address = optional(ip, 'string') ?? '';
    const node = optional(nodeName, 'string') ?? '';
    if (address === '') return [];
    return [{ address, node: node === '' ? undefined : node, ready, serving: ready, terminating: false }];
  });
}

function portsIn(value: unknown): SliceContent['ports'] {
  return optionalObjects(value).map(({ name, port, protocol }) => ({
    name: optional(name, 'string') ?? '',
    port: optional(port, 'number'),
    protocol: optional(protocol, 'string') ?? 'TCP',
  }));
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
  if (service.type === 'ExternalName') return resolveExternalName(ref, service);
  const port = findPort(ref.port, ref.protocol, service.ports, slices);
  if (port.state === 'absent') return { ...port, message: `${where} ${port.message}` };
  const { namespace, name, type, isHeadless, clusterIps, loadBalancer, isLocal } = service;
  const own = service.ports.find((one) => one.name === port.name && one.protocol === ref.protocol);
  return {
    state: 'known',
    preferredFamily: service.ipFamilies[0] ?? 'IPv4',
    basis: service.basis,
    endpoints: endpointsAt(slices, port, ref.protocol),
    front: {
      namespace,
      name,
      type,
      isHeadless,
      clusterIps,
      loadBalancer,
      isLocal,
      ...(own === undefined ? {} : { port: own }),
    },
  };
}

/** What Endpoints that somebody wrote for a name without Service say about `ref`. Pure. */
function resolveEndpoints(ref: ServicePortRef, { slices }: EndpointsFacts): Discovered {
  const port = findPort(ref.port, ref.protocol, [], slices);
  if (port.state === 'absent') {
    return { ...port, message: `Endpoints ${ref.namespace}/${ref.name} ${port.message}` };
  }
  return {
    state: 'known',
    preferredFamily: slices[0]?.family ?? 'IPv4',
    basis: 'Endpoints',
    endpoints: endpointsAt(slices, port, ref.protocol),
  };
}

/** The endpoints of every slice, each with the number that its slice gives the port. */
function endpointsAt(
  slices: readonly SliceContent[],
  port: Extract<FoundPort, { state: 'found' }>,
  protocol: Protocol,
): readonly Endpoint[] {
  return slices.flatMap((slice): Endpoint[] => {
    const number = slice.ports.find(
      (candidate) =>
        candidate.name === port.name &&
        candidate.protocol === protocol &&
        (port.number === undefined || candidate.port === port.number),
    )?.port;
    const { family } = slice;
    return slice.endpoints.map(({ address, target, node, zone, ready, serving, terminating }) => ({
      address,
      family,
      port: number,
      target,
      node,
      zone,
      ready,
      serving,
      terminating,
    }));
  });
}

/** Such a Service usually names no ports, so that a number needs none. */
function resolveExternalName(ref: ServicePortRef, service: ServiceFacts): Discovered {
  const { port } = ref.port;
  const number =
    typeof port === 'number' || /^[0-9]+$/.test(port)
      ? Number(port)
      : service.ports.find(({ name, protocol }) => name === port && protocol === ref.protocol)?.port;
  if (number === undefined) {
    return {
      state: 'absent',
      reason: 'PortNotFound',
      message: `Service ${ref.namespace}/${ref.name} is of type ExternalName and has no port ${port}: write the number of the port`,
    };
  }
  return {
    state: 'external',
    host: service.externalName,
    port: number,
    basis: `${service.basis} ${service.externalName}`,
  };
}

type FoundPort =
  /** `number`: only an endpoint port of this number will do. */
  | { readonly state: 'found'; readonly name: string; readonly number: number | undefined }
  | Extract<Discovered, { state: 'absent' }>;

function findPort(
  ref: PortRef,
  protocol: Protocol,
  servicePorts: readonly ServicePort[],
  slices: readonly SliceContent[],
): FoundPort {
  const wanted =
    ref.by === 'endpointPort' && /^[0-9]+$/.test(ref.port)
      ? { label: `unnamed port ${ref.port}`, name: '', number: Number(ref.port) }
      : { label: `port ${ref.port}`, name: ref.port, number: undefined };
  // APISIX's discovery looks at endpoints only: slices made by hand may have ports that their Service does not name.
  const ports = ref.by === 'endpointPort' ? slices.flatMap((slice) => slice.ports) : [];
  const candidates = [...servicePorts, ...ports].filter((port) =>
    ref.by === 'servicePort' && typeof ref.port === 'number'
      ? port.port === ref.port
      : port.name === wanted.name,
  );
  if (candidates.length === 0) {
    const known = new Set(
      (servicePorts.length > 0 ? servicePorts : ports).map(({ name, port }) =>
        name === '' ? `${port}` : `${port} (${name})`,
      ),
    );
    return {
      state: 'absent',
      reason: 'PortNotFound',
      message: `has no ${wanted.label}, but ${known.size === 0 ? 'no ports at all' : [...known].join(', ')}: correct the port`,
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
  /** Read for names that have no Service; absent: not at all. */
  readonly endpoints?: StoreView<EndpointsFacts>;
}

/** Services and their EndpointSlices, all slices of a Service merged; Endpoints where there is no Service. */
export function createKubernetesSource({
  services,
  slices,
  endpoints,
}: KubernetesSourceOptions): DiscoverySource<ServicePortRef> {
  const subscriptions = new MultiMap<string, (what: SourceChange) => void>();
  const removedEndpoints = new RemovedEndpoints();
  /** What a kind holds before it is listed in full is no news: everybody is told when it is. */
  const notify = ({ state }: StoreView<Stored>, namespace: string, name: string) => {
    if (state.state !== 'synced') return;
    for (const changed of subscriptions.get(objectKey(namespace, name))) changed('instances');
  };
  const notifyAll = () => {
    for (const key of [...subscriptions.keys()]) {
      for (const changed of subscriptions.get(key)) changed('source');
    }
  };

  return {
    type: 'kubernetes',

    async run(signal) {
      using _services = services.onChange(({ previous, current }) => {
        const service = current ?? previous;
        if (service !== undefined) notify(services, service.namespace, service.name);
      });
      using _slices = slices.onChange((event) => {
        const { previous, current } = event;
        removedEndpoints.note(event);
        if (previous?.service === ANY_SERVICE || current?.service === ANY_SERVICE) notifyAll();
        if (previous !== undefined) notify(slices, previous.namespace, previous.service);
        if (current !== undefined && current.service !== previous?.service) {
          notify(slices, current.namespace, current.service);
        }
      });
      using _endpoints = endpoints?.onChange(({ previous, current }) => {
        const object = current ?? previous;
        if (object !== undefined) notify(endpoints, object.namespace, object.name);
      });
      using _servicesState = services.onState(notifyAll);
      using _slicesState = slices.onState(notifyAll);
      using _endpointsState = endpoints?.onState(notifyAll);
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      }
    },

    subscribe(ref, changed) {
      const key = objectKey(ref.namespace, ref.name);
      subscriptions.add(key, changed);
      const dispose = () => subscriptions.delete(key, changed);
      return { [Symbol.dispose]: dispose };
    },

    read(ref) {
      const unknown = unlisted('Services', services) ?? unlisted('EndpointSlices', slices);
      if (unknown !== undefined) return unknown;
      const service = services.get(ref.namespace, ref.name);
      // Only APISIX's spelling: `serviceRef` names a Service.
      if (service === undefined && endpoints !== undefined && ref.port.by === 'endpointPort') {
        const unread = unlisted('Endpoints', endpoints);
        if (unread !== undefined) return unread;
        const written = endpoints.get(ref.namespace, ref.name);
        if (written !== undefined)
          return unreadableObject('Endpoints', [written]) ?? resolveEndpoints(ref, written);
      }
      const ofService = slices.byIndex(BY_SERVICE, objectKey(ref.namespace, ref.name));
      return (
        unreadableObject('Service', service === undefined ? [] : [service]) ??
        unreadableObject('EndpointSlice', ofService) ??
        unreadableObject(
          'EndpointSlice',
          slices.byIndex(BY_SERVICE, objectKey(ref.namespace, ANY_SERVICE)),
        ) ??
        resolveService(ref, service, ofService)
      );
    },

    departure({ namespace, name }, what) {
      const terminating = removedEndpoints.wasTerminating(namespace, name, what);
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
