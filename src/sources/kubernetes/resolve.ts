import type { Discovered } from '../../model/discovered.ts';
import type { Endpoint, Protocol, ServicePort } from '../../model/endpoint.ts';
import type { PortRef, ServicePortRef } from '../../model/reference.ts';
import type { EndpointsFacts, ServiceFacts, SliceContent, SliceFacts } from './transform.ts';

/** Resolves `ref` with a Service and its slices. Pure. */
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

/** Resolves `ref` with an Endpoints object that has no Service. Pure. */
export function resolveEndpoints(ref: ServicePortRef, { slices }: EndpointsFacts): Discovered {
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

/** The endpoints of all slices. Each has the port number of its slice. */
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

/** A Service of type ExternalName usually lists no ports, so any port number is accepted. */
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
      message: `Service ${ref.namespace}/${ref.name} is of type ExternalName and has no port ${port}: use the port number`,
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
  /** `number`: the endpoint port must also have this number. */
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
  // The discovery of APISIX uses only endpoints. Manually created slices may have ports that their Service does not list.
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
      message: `has no ${wanted.label}${known.size === 0 ? ' and no other ports' : `, only ${[...known].join(', ')}`}: correct the port`,
    };
  }
  const match = candidates.find((port) => port.protocol === protocol);
  if (match === undefined) {
    const others = new Set(candidates.map((port) => port.protocol));
    return {
      state: 'absent',
      reason: 'UnsupportedProtocol',
      message: `has ${wanted.label} only for ${[...others].join(' and ')}, but the scheme requires ${protocol}: use another port or another scheme`,
    };
  }
  return { state: 'found', name: match.name, number: wanted.number };
}
