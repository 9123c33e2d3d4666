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

/** Stands for the name of a Service that cannot be read: any Service of the namespace may be meant. */
export const ANY_SERVICE = '';

/** The stored form of an EndpointSlice. */
export interface SliceFacts extends Stored, SliceContent {
  /** Name of its Service; empty where that cannot be read. */
  readonly service: string;
  /** Why its content is not known; absent for one that was read. */
  readonly unreadable?: string;
}

/** The stored form of a v1 Endpoints object. */
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
  [BY_NAMED_NAMESPACE]: ({ externalName, loadBalancer }: ServiceFacts): readonly string[] =>
    [externalName, ...loadBalancer].flatMap((host) => namespaceNamedBy(host) ?? []),
};

/** The index of slices by their Service, `namespace/name`. */
export const BY_SERVICE = 'service';

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
