import type { Addressing } from '../api/addressing.ts';
import type { Discovered } from '../model/discovered.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { Via } from './addressing.ts';
import type { ResolvedBackend } from './backends.ts';
import type { HostPolicy, HostProblem } from './host-policy.ts';
import type { Excluded } from './nodes.ts';

type Known = Extract<Discovered, { state: 'known' }>;
type Places = Pick<Extract<ResolvedBackend, { found: unknown }>, 'found' | 'via' | 'leftOut'>;

/** `found` and `via` without the addresses that `policy` denies; `leftOut` lists the denied addresses. */
export function allowedPlaces(
  ref: ServicePortRef,
  found: Known,
  via: Via,
  { mode }: Addressing,
  policy: HostPolicy,
  isNamespace: (name: string) => boolean,
): Places {
  switch (via.kind) {
    case 'endpoints':
      return { ...allowedEndpoints(found, policy), via };
    case 'nodes':
      // Each judged node already carries whether its address is allowed.
      return { found, via };
    case 'front':
      // In mode DNS the operator builds the name from the reference, so it cannot point elsewhere.
      return mode === 'DNS' ? { found, via } : allowedFront(ref, found, via, policy, isNamespace);
    default:
      return via satisfies never;
  }
}

function allowedEndpoints(found: Known, policy: HostPolicy): Pick<Places, 'found' | 'leftOut'> {
  const isAllowed = ({ address }: { readonly address: string }) => policy.ofAddress(address) === undefined;
  if (found.endpoints.every(isAllowed)) return { found };
  const denied = new Map(
    found.endpoints
      .filter((endpoint) => !isAllowed(endpoint))
      .map(({ address, port }) => [`${address} ${port}`, notAllowed(address, port)]),
  );
  return {
    found: { ...found, endpoints: found.endpoints.filter(isAllowed) },
    leftOut: [...denied.values()],
  };
}

function allowedFront(
  ref: ServicePortRef,
  found: Known,
  via: Extract<Via, { kind: 'front' }>,
  policy: HostPolicy,
  isNamespace: (name: string) => boolean,
): Places {
  const problems = new Map<string, HostProblem>();
  for (const host of via.hosts) {
    const problem = policy.ofHost(host, isNamespace);
    if (problem !== undefined) problems.set(host, problem);
  }
  const [first] = problems;
  if (first === undefined) return { found, via };
  const port = via.port === 'endpoints' ? undefined : via.port;
  const left = [...problems.keys()].map((host) => notAllowed(host, port));
  const hosts = via.hosts.filter((host) => !problems.has(host));
  if (hosts.length > 0) return { found, via: { ...via, hosts }, leftOut: left };
  const [host, { reason, message }] = first;
  return {
    found: {
      state: 'notPermitted',
      reason,
      message: `Service ${ref.namespace}/${ref.name} has the address ${host}, which ${message}`,
    },
    leftOut: left,
  };
}

function notAllowed(host: string, port: number | undefined): Excluded {
  return { host, ...(port === undefined ? {} : { port }), reason: 'AddressNotAllowed' };
}
