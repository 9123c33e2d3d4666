import { BY_NAMED_NAMESPACE, namespaceNamedBy } from '../../decide/host-policy.ts';
import type { Endpoint, IpFamily, ServiceFront, ServicePort } from '../../model/endpoint.ts';
import { objectKey } from '../../model/keys.ts';
import type { Stored } from '../../model/store-view.ts';
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

/** The stored form of a Service. */
export interface ServiceFacts extends Stored, Omit<ServiceFront, 'namespace' | 'name' | 'port'> {
  /** RFC 3339. */
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ipFamilies: readonly IpFamily[];
  /** For type ExternalName: the name in lowercase, without a trailing dot. */
  readonly externalName: string;
  readonly ports: readonly ServicePort[];
  /** Selector, ports and type as text. A change of these explains a change of the endpoints. */
  readonly basis: string;
  /** Why the object could not be read; absent if it was read. */
  readonly unreadable?: string;
}

/** Endpoints that share their ports. */
export interface SliceContent {
  readonly family: IpFamily;
  readonly ports: readonly {
    readonly name: string;
    readonly port: number | undefined;
    readonly protocol: string;
  }[];
  readonly endpoints: readonly Omit<Endpoint, 'port' | 'family'>[];
}

/** Placeholder for an unreadable Service name: the slice can belong to any Service in the namespace. */
export const ANY_SERVICE = '';

/** The stored form of an EndpointSlice. */
export interface SliceFacts extends Stored, SliceContent {
  /** Name of its Service, or `ANY_SERVICE`. */
  readonly service: string;
  /** Why the object could not be read; absent if it was read. */
  readonly unreadable?: string;
}

/** The stored form of a v1 Endpoints object. */
export interface EndpointsFacts extends Stored {
  readonly slices: readonly SliceContent[];
  /** Why the object could not be read; absent if it was read. */
  readonly unreadable?: string;
}

/** The label of an EndpointSlice with the name of its Service. */
export const SERVICE_LABEL = 'kubernetes.io/service-name';

/** Selects EndpointSlices that belong to a Service. */
export const SLICES_OF_SERVICES = { labelSelector: SERVICE_LABEL };

/** Selects Endpoints that the endpoints controller does not manage. It labels its own objects since Kubernetes 1.33. */
export const UNMANAGED_ENDPOINTS = { labelSelector: '!endpoints.kubernetes.io/managed-by' };

export const serviceIndexes = {
  namespace: (service: ServiceFacts): readonly string[] => [service.namespace],
  [BY_NAMED_NAMESPACE]: ({ externalName, loadBalancer }: ServiceFacts): readonly string[] =>
    [externalName, ...loadBalancer].flatMap((host) => namespaceNamedBy(host) ?? []),
};

/** Index of slices by Service, `namespace/name`. */
export const BY_SERVICE = 'service';

export const sliceIndexes = {
  [BY_SERVICE]: (slice: SliceFacts): readonly string[] => [objectKey(slice.namespace, slice.service)],
};

function isFamily(value: unknown): value is IpFamily {
  return value === 'IPv4' || value === 'IPv6';
}

/** The stored form of a Service from the API server. Undefined for other objects. Throws if it cannot be read. */
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
  // An object literal, here and below: an object built with spread takes 50 % more memory.
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
    // 0: not assigned yet.
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
 * The stored form of an EndpointSlice from the API server. Undefined if it has no Service or no IP addresses. Throws if it
 * cannot be read, because its endpoints may still exist.
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

/** The defined entries. `flatMap` would allocate twice the memory. */
function defined<T>(list: readonly (T | undefined)[]): readonly T[] {
  const isDefined = (entry: T | undefined): entry is T => entry !== undefined;
  return list.every(isDefined) ? list : list.filter(isDefined);
}

function endpointIn(endpoint: JsonObject): SliceContent['endpoints'][number] | undefined {
  // The entries of `addresses` are fungible, so the first one is used (discovery.k8s.io/v1).
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

/** The stored form of a v1 Endpoints object from the API server. Undefined for other objects. Throws like `transformSlice`. */
export function transformEndpoints(value: unknown): EndpointsFacts | undefined {
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

/** The stored form of a Service that exists and cannot be read. */
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

/** The stored form of an EndpointSlice that exists and cannot be read. Its Service is `ANY_SERVICE` if that is unreadable too. */
export function unreadableSlice(value: unknown, why: string): SliceFacts | undefined {
  const object = objectIn(value);
  const identity = identityIn(object);
  const service = textIn(objectIn(objectIn(object['metadata'])['labels'])[SERVICE_LABEL], ANY_SERVICE);
  return identity && { ...identity, service, family: 'IPv4', ports: [], endpoints: [], unreadable: why };
}

/** The stored form of an Endpoints object that exists and cannot be read. */
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
