import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import { type IpAddress, type IpRange, isInRange, parseIp, parseIpRange } from '../api/ip-address.ts';

/** Why a host may not be in the gateway. */
export interface HostProblem {
  /** AddressNotAllowed: `spec.addresses` of the connection can allow it. StaticAddressesDenied: no setting can. */
  readonly reason: 'AddressNotAllowed' | 'StaticAddressesDenied';
  /** A predicate for the host as subject, followed by the remedy. */
  readonly message: string;
}

function rangesOf(...texts: readonly string[]): readonly IpRange[] {
  return texts.flatMap((text) => parseIpRange(text) ?? []);
}

/**
 * Addresses of the gateway's own machine or link, and addresses of no single machine. A gateway that sends tenant traffic
 * there would expose its Admin API, the kubelet's local ports or the cloud metadata service.
 */
const SPECIAL: readonly { readonly kind: string; readonly ranges: readonly IpRange[] }[] = [
  { kind: 'a loopback address', ranges: rangesOf('127.0.0.0/8', '::1/128') },
  { kind: 'a link-local address', ranges: rangesOf('169.254.0.0/16', 'fe80::/10') },
  // AWS: the only metadata address outside the link-local ranges.
  { kind: 'a cloud metadata address', ranges: rangesOf('fd00:ec2::254/128') },
  { kind: 'an unspecified address', ranges: rangesOf('0.0.0.0/8', '::/128') },
  // The position of the embedded IPv4 address depends on the translator (RFC 8215), so the address cannot be checked.
  { kind: 'a local NAT64 address', ranges: rangesOf('64:ff9b:1::/48') },
  {
    kind: 'a multicast or broadcast address',
    ranges: rangesOf('224.0.0.0/4', '255.255.255.255/32', 'ff00::/8'),
  },
];

/** IPv6 ranges that embed an IPv4 address, which starts at group `at`. */
const WITH_IPV4: readonly { readonly ranges: readonly IpRange[]; readonly at: number }[] = [
  // IPv4-mapped, IPv4-translated (RFC 2765), IPv4-compatible and NAT64.
  { ranges: rangesOf('::ffff:0:0/96', '::ffff:0:0:0/96', '::/96', '64:ff9b::/96', '64:ff9b:1::/48'), at: 6 },
  // 6to4.
  { ranges: rangesOf('2002::/16'), at: 1 },
];

/** The IPv4 addresses that `address` may be translated to. */
function ipv4In(address: IpAddress): readonly IpAddress[] {
  return WITH_IPV4.filter(({ ranges }) => ranges.some((range) => isInRange(range, address))).map(({ at }) =>
    address.slice(at, at + 2),
  );
}

/** Names that resolve to a special address on every machine, or on every machine in a cloud. */
const LOCAL_NAMES: readonly { readonly pattern: RegExp; readonly address: IpAddress }[] = [
  { pattern: /(^|\.)localhost$/, address: [0x7f00, 1] },
  { pattern: /^localhost[46]?\.localdomain[46]?$/, address: [0x7f00, 1] },
  // The metadata services of Google Cloud and AWS.
  { pattern: /^metadata\.google\.internal$|^metadata\.goog$/, address: [0xa9fe, 0xa9fe] },
  { pattern: /^instance-data\.([^.]+\.)?(ec2|compute)\.internal$/, address: [0xa9fe, 0xa9fe] },
];

/** Lower case, without the trailing dot of a fully qualified name. */
function plainName(host: string): string {
  return host.toLowerCase().replace(/\.+$/, '');
}

/**
 * The last label of a name: `bank` in `cms.bank` and `cms-0.cms.bank`. Inside the cluster, DNS search domains resolve such
 * a name to a Service if the namespace exists.
 */
export function namespaceNamedBy(host: string): string | undefined {
  const labels = plainName(host).split('.');
  return labels.length > 1 ? labels.at(-1) : undefined;
}

/** The index of ExternalName Services by `namespaceNamedBy` of their external name. */
export const BY_NAMED_NAMESPACE = 'named';

/** Whether only a resolver inside the cluster knows `name`, so that it is an indirect reference to a Service. */
function isClusterName(name: string, isNamespace: (name: string) => boolean): boolean {
  if (/\.(svc|pod|cluster\.local)$/.test(name) || name.includes('.svc.')) return true;
  // A Pod name in a cluster whose domain is not cluster.local.
  if (/^[0-9a-f]*-[0-9a-f-]+\.[^.]+\.pod\./.test(name)) return true;
  const namespace = namespaceNamedBy(name);
  return namespace !== undefined && isNamespace(namespace);
}

/** Whether some resolvers read `name` as an IPv4 address: `2130706433`, `0x7f.1`, `127.1`, `010.0.0.1`. */
function isNumeric(name: string): boolean {
  return /^(0x[0-9a-f]*|[0-9]+)$/.test(name.split('.').at(-1) ?? '');
}

function isName(host: string): boolean {
  return host !== '' && !isNumeric(host) && !host.includes(':');
}

/** The problem with text that a resolver may read as a different address than `parseIp` does. */
const NOT_AN_ADDRESS: HostProblem = {
  reason: 'AddressNotAllowed',
  message: 'is a form of IP address that only some resolvers accept: use four decimal numbers, or IPv6',
};

/** The address that `name` resolves to on every machine; undefined if it depends on the resolver. */
function localAddress(name: string): IpAddress | undefined {
  return LOCAL_NAMES.find(({ pattern }) => pattern.test(name))?.address;
}

/** An entry takes about 100 bytes. */
const MAX_ANSWERS = 20_000;

type AddressRanges = NonNullable<GatewayConnectionSpec['addresses']>;

/** Decides which addresses and names one connection allows in its gateway, or one registry for its instances. */
export class HostPolicy {
  readonly #allow: readonly IpRange[];
  readonly #deny: readonly IpRange[];
  /** A cache by address: each change of a Service checks all of its endpoints again. */
  readonly #answers = new Map<string, HostProblem | undefined>();

  constructor({ allow = [], deny = [] }: AddressRanges) {
    this.#allow = rangesOf(...allow);
    this.#deny = rangesOf(...deny);
  }

  /** Why the IP address `host` may not be in the gateway; undefined if it may. Text that is not an IP address is denied. */
  ofAddress(host: string): HostProblem | undefined {
    const known = this.#answers.get(host);
    if (known !== undefined || this.#answers.has(host)) return known;
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    const address = parseIp(host);
    const answer = address === undefined ? NOT_AN_ADDRESS : this.#judge(address, 'is');
    this.#answers.set(host, answer);
    return answer;
  }

  /** Why `host`, the address or name of a cluster node, may not be in the gateway; undefined if it may. */
  ofNode(host: string): HostProblem | undefined {
    const name = plainName(host);
    return isName(name) ? this.#ofLocalName(name) : this.ofAddress(host);
  }

  /** Why `host`, an address or name from a tenant, may not be in the gateway; undefined if it may. */
  ofHost(host: string, isNamespace: (name: string) => boolean): HostProblem | undefined {
    const name = plainName(host);
    if (parseIp(name) !== undefined) return this.ofAddress(name);
    if (!isName(name)) return NOT_AN_ADDRESS;
    if (localAddress(name) !== undefined) return this.#ofLocalName(name);
    if (!name.includes('.')) {
      return {
        reason: 'StaticAddressesDenied',
        message:
          'is a name without a dot, which resolves inside the cluster: use serviceRef, or a fully qualified name',
      };
    }
    if (!isClusterName(name, isNamespace)) return undefined;
    return {
      reason: 'StaticAddressesDenied',
      message: 'is a cluster-internal name: use serviceRef instead',
    };
  }

  #ofLocalName(name: string): HostProblem | undefined {
    const address = localAddress(name);
    return address && this.#judge(address, 'resolves to');
  }

  #judge(address: IpAddress, verb: 'is' | 'resolves to'): HostProblem | undefined {
    const forms = [address, ...ipv4In(address)];
    const isIn = (ranges: readonly IpRange[]) =>
      ranges.some((range) => forms.some((form) => isInRange(range, form)));
    if (isIn(this.#deny)) {
      return {
        reason: 'AddressNotAllowed',
        message: `${verb} an address in spec.addresses.deny of the GatewayConnection: use another address`,
      };
    }
    const special = SPECIAL.find(({ ranges }) => isIn(ranges));
    if (special === undefined || isIn(this.#allow)) return undefined;
    return {
      reason: 'AddressNotAllowed',
      message: `${verb} ${special.kind}: use another address, or ask the platform team to add it to spec.addresses.allow of the GatewayConnection`,
    };
  }
}

const policies = new WeakMap<AddressRanges, HostPolicy>();
const NO_RANGES: AddressRanges = {};

/** The policy of `spec.addresses` of a connection or registry, cached by that object. */
export function hostPolicy({ addresses = NO_RANGES }: Pick<GatewayConnectionSpec, 'addresses'>): HostPolicy {
  const known = policies.get(addresses);
  if (known !== undefined) return known;
  const policy = new HostPolicy(addresses);
  policies.set(addresses, policy);
  return policy;
}
