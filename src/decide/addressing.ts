import { type Addressing, CLUSTER_DNS_SUFFIX } from '../api/addressing.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { Discovered } from '../model/discovered.ts';
import type { ClusterNode, IpFamily, ServiceFront } from '../model/endpoint.ts';
import type { UpstreamNode } from '../model/upstream.ts';
import type { ChosenEndpoint, ChosenEndpoints, Excluded } from './nodes.ts';
import { matchesSelector } from './selectors.ts';
import { greatestCommonDivisor } from './weights.ts';

/** The addressing of a backend if neither its connection nor its spec sets one. */
export const POD: Addressing = { mode: 'Pod' };

/** The Nodes of the cluster, as far as the operator watches them. */
export type KnownNodes =
  | { readonly kind: 'listed'; readonly nodes: Iterable<ClusterNode> }
  | { readonly kind: 'unknown'; readonly beginning: boolean; readonly message: string };

/** What the gateway receives in place of a Service's endpoints. */
export type Via =
  /** The endpoints themselves. */
  | { readonly kind: 'endpoints' }
  | {
      readonly kind: 'nodes';
      readonly port: number;
      /** externalTrafficPolicy Local: only nodes with a local endpoint serve the port. */
      readonly isLocal: boolean;
      readonly nodes: readonly JudgedNode[];
    }
  /** Names or addresses of the Service itself. With port `endpoints`, the ports of the endpoints are used. */
  | { readonly kind: 'front'; readonly hosts: readonly string[]; readonly port: number | 'endpoints' };

export interface JudgedNode {
  readonly node: ClusterNode;
  /** The address for the gateway; undefined if the node has no address of that type and family. */
  readonly host: string | undefined;
  /**
   * `unselected`: the node selector excludes it. `unusable`: it is excluded from external load balancers or has no address
   * of the required type and family. `notAllowed`: the connection does not allow its address.
   */
  readonly state: 'usable' | 'notReady' | 'unusable' | 'unselected' | 'notAllowed';
}

const EXCLUDED_LABEL = 'node.kubernetes.io/exclude-from-external-load-balancers';
const ZONE_LABEL = 'topology.kubernetes.io/zone';

/**
 * How `addressing` reaches `found`, one port of a Service, or why it cannot. `isAllowed`: whether the connection allows a
 * node's address.
 */
export function viaOf(
  found: Extract<Discovered, { state: 'known' }>,
  addressing: Addressing,
  family: IpFamily,
  nodes: KnownNodes,
  isAllowed: (host: string) => boolean = () => true,
): Via | Extract<Discovered, { state: 'absent' | 'unknown' }> {
  if (addressing.mode === 'Pod') return { kind: 'endpoints' };
  const { front } = found;
  if (front === undefined) {
    return absent(
      'ServiceNotFound',
      `The endpoints have no Service, which addressing mode ${addressing.mode} requires: create the Service, or use mode Pod`,
    );
  }
  const where = serviceName(front);
  if (front.port === undefined) {
    return absent(
      'PortNotFound',
      `${where} does not define the port of its endpoints, which addressing mode ${addressing.mode} requires: add the port to the Service, or use mode Pod`,
    );
  }
  const { port, nodePort } = front.port;
  switch (addressing.mode) {
    case 'Node':
      return nodesOf(front, nodePort, nodes, (node) => judge(node, addressing, family, isAllowed));
    case 'LoadBalancer':
      return frontOf(
        front.loadBalancer.filter((host) => isName(host) || familyOf(host) === family),
        port,
        () => noLoadBalancer(front, family),
      );
    case 'ClusterIP':
      return frontOf(front.clusterIps.filter((host) => familyOf(host) === family).slice(0, 1), port, () =>
        absent(
          'NoClusterIP',
          front.isHeadless
            ? `${where} is headless and has no cluster IP: use addressing mode Pod or DNS`
            : `${where} has no ${family} cluster IP: correct spec.endpoints.family, or choose another addressing mode`,
        ),
      );
    case 'DNS':
      return {
        kind: 'front',
        hosts: [dnsName(front, addressing.dnsSuffix ?? CLUSTER_DNS_SUFFIX)],
        // The name of a headless Service resolves to its endpoints, which serve their own ports.
        port: front.isHeadless ? 'endpoints' : port,
      };
    default:
      return addressing.mode satisfies never;
  }
}

type Absent = Extract<Discovered, { state: 'absent' }>;
type Unknown = Extract<Discovered, { state: 'unknown' }>;

function nodesOf(
  front: ServiceFront,
  nodePort: number | undefined,
  nodes: KnownNodes,
  judged: (node: ClusterNode) => JudgedNode,
): Via | Absent | Unknown {
  if (nodePort === undefined) {
    return absent(
      'NodePortMissing',
      `${serviceName(front)} is of type ${front.type} and has no node port for port ${front.port?.port}: change its type to NodePort, or choose another addressing mode`,
    );
  }
  if (nodes.kind === 'unknown') {
    return { state: 'unknown', beginning: nodes.beginning, message: nodes.message };
  }
  return { kind: 'nodes', port: nodePort, isLocal: front.isLocal, nodes: [...nodes.nodes].map(judged) };
}

function noLoadBalancer(front: ServiceFront, family: IpFamily): Absent {
  return absent(
    'NoLoadBalancerAddress',
    front.type === 'LoadBalancer'
      ? `${serviceName(front)} has no ${family} load balancer address yet: check its Events, or choose another addressing mode`
      : `${serviceName(front)} is of type ${front.type}: change its type to LoadBalancer, or choose another addressing mode`,
  );
}

function serviceName({ namespace, name }: ServiceFront): string {
  return `Service ${namespace}/${name}`;
}

function absent(reason: Absent['reason'], message: string): Absent {
  return { state: 'absent', reason, message };
}

function frontOf(hosts: readonly string[], port: number, otherwise: () => Absent): Via | Absent {
  return hosts.length === 0 ? otherwise() : { kind: 'front', hosts, port };
}

function dnsName({ name, namespace }: ServiceFront, suffix: string): string {
  return suffix === '' ? `${name}.${namespace}` : `${name}.${namespace}.${suffix}`;
}

function isName(host: string): boolean {
  return !host.includes(':') && !/^[0-9.]+$/.test(host);
}

function familyOf(address: string): IpFamily {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

function judge(
  node: ClusterNode,
  { nodeAddressType, nodeSelector }: Addressing,
  family: IpFamily,
  isAllowed: (host: string) => boolean,
): JudgedNode {
  const type = nodeAddressType ?? 'InternalIP';
  const host = node.addresses.find(
    (one) => one.type === type && (isName(one.address) || familyOf(one.address) === family),
  )?.address;
  if (nodeSelector !== undefined && !matchesSelector(nodeSelector, node.labels)) {
    return { node, host, state: 'unselected' };
  }
  if (host === undefined || Object.hasOwn(node.labels, EXCLUDED_LABEL))
    return { node, host, state: 'unusable' };
  if (!isAllowed(host)) return { node, host, state: 'notAllowed' };
  return { node, host, state: node.ready ? 'usable' : 'notReady' };
}

/** What one backend contributes to the upstream. */
export interface Placed {
  /** Each place has its weight within the backend. */
  readonly places: readonly Place[];
  readonly ready: number;
  readonly draining: number;
  readonly excluded: readonly Excluded[];
}

export type Place = Omit<UpstreamNode, 'weight'> & { readonly unit: number };

type Zones = NonNullable<GatewayUpstreamSpec['endpoints']>['zones'];

/** What the gateway receives for `chosen`. The counts are endpoints, even where the places are nodes or names. */
export function place(chosen: ChosenEndpoints, via: Via, zones: Zones): Placed {
  switch (via.kind) {
    case 'endpoints':
      return {
        ...chosen,
        places: weighZones(chosen.endpoints, zones),
      };
    case 'nodes':
      return via.isLocal ? localNodes(chosen, via, zones) : everyNode(chosen, via, zones);
    case 'front': {
      const used = chosen.endpoints.filter(({ carriesTraffic }) => carriesTraffic);
      const ports = via.port === 'endpoints' ? new Set(used.map(({ port }) => port)) : new Set([via.port]);
      const places = via.hosts.flatMap((host) =>
        [...ports].map((port) => ({ host, port, unit: 1, priority: 0 })),
      );
      return { ...chosen, places: used.length === 0 ? [] : places };
    }
    default:
      return via satisfies never;
  }
}

type NodesVia = Extract<Via, { kind: 'nodes' }>;

/** Each node forwards traffic to any endpoint. */
function everyNode(chosen: ChosenEndpoints, { nodes, port }: NodesVia, zones: Zones): Placed {
  if (!chosen.endpoints.some(({ carriesTraffic }) => carriesTraffic)) return { ...chosen, places: [] };
  const usable = nodes.filter(({ state }) => state === 'usable');
  const places = weighZones(
    usable.flatMap((judged) => placeOn(judged, port, true)),
    zones,
  );
  const excluded = [
    ...chosen.excluded,
    ...nodes
      .filter(({ state }) => state !== 'usable' && state !== 'unselected')
      .map((judged) => unusable(judged, port)),
  ];
  return usable.length === 0
    ? { places, ready: 0, draining: 0, excluded }
    : { places, ready: chosen.ready, draining: chosen.draining, excluded };
}

/** A node forwards only to its own endpoints and drops other traffic. */
function localNodes(chosen: ChosenEndpoints, { nodes, port }: NodesVia, zones: Zones): Placed {
  const judgedNodes = new Map(nodes.map((judged) => [judged.node.name, judged]));
  const carrying = new Map<JudgedNode, boolean>();
  const left = new Set<JudgedNode>();
  const excluded = [...chosen.excluded];
  let ready = 0;
  let draining = 0;
  for (const endpoint of chosen.endpoints) {
    const judged = endpoint.node === undefined ? undefined : judgedNodes.get(endpoint.node);
    if (judged === undefined) {
      excluded.push({ host: endpoint.host, port: endpoint.port, reason: 'NodeUnusable' });
    } else if (judged.state !== 'usable') left.add(judged);
    else {
      carrying.set(judged, endpoint.carriesTraffic || carrying.get(judged) === true);
      if (chosen.ready > 0 && endpoint.carriesTraffic) ready += 1;
      else draining += 1;
    }
  }
  return {
    places: weighZones(
      [...carrying].flatMap(([judged, carriesTraffic]) => placeOn(judged, port, carriesTraffic)),
      zones,
    ),
    ready,
    draining,
    excluded: [...excluded, ...[...left].map((judged) => unusable(judged, port))],
  };
}

function placeOn({ host, node }: JudgedNode, port: number, carriesTraffic: boolean): ChosenEndpoint[] {
  if (host === undefined) return [];
  const zone = node.labels[ZONE_LABEL];
  return [{ host, port, carriesTraffic, ...(zone === undefined ? {} : { zone }) }];
}

function unusable({ host, node, state }: JudgedNode, port: number): Excluded {
  const reason = state === 'notAllowed' ? 'AddressNotAllowed' : 'NodeUnusable';
  return { host: host ?? node.name, port, reason };
}

const FULL_WEIGHT = 100;

/**
 * The smallest integer weights in the proportions of the zones and of the endpoints' own weights; endpoints in zones of weight 0
 * are omitted.
 */
function weighZones(endpoints: readonly ChosenEndpoint[], zones: Zones = []): readonly Place[] {
  const settings = new Map(zones.map((one) => [one.zone, one]));
  const places = endpoints.flatMap(({ host, port, zone, carriesTraffic, unit = 1 }) => {
    const { weight = FULL_WEIGHT, priority = 0 } =
      (zone === undefined ? undefined : settings.get(zone)) ?? {};
    return weight === 0 ? [] : [{ host, port, unit: carriesTraffic ? weight * unit : 0, priority }];
  });
  const divisor = places.reduce((running, { unit }) => greatestCommonDivisor(running, unit), 0);
  return divisor > 1 ? places.map((one) => ({ ...one, unit: one.unit / divisor })) : places;
}
