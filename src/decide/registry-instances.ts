import type { InstanceChoice } from '../api/registry-section.ts';
import type { ServiceRegistrySpec } from '../api/service-registry.ts';
import type { Discovered } from '../model/discovered.ts';
import type { Endpoint } from '../model/endpoint.ts';
import { type HostPolicy, hostPolicy } from './host-policy.ts';
import type { Excluded } from './nodes.ts';

type Known = Extract<Discovered, { state: 'known' }>;

/** `spec.addresses` of a ServiceRegistry. */
export type RegistryAddresses = NonNullable<ServiceRegistrySpec['addresses']>;

export interface ChosenInstances {
  readonly found: Known;
  readonly leftOut: readonly Excluded[];
  readonly unmatched: number;
}

interface AddressRules {
  /** Of the ServiceRegistry; undefined for the defaults. */
  readonly registry: RegistryAddresses | undefined;
  readonly connection: HostPolicy;
  readonly isNamespace: (name: string) => boolean;
}

/** The instances of `found` that a backend uses, with their ports and integer weights. */
export function chooseInstances(found: Known, choice: InstanceChoice, rules: AddressRules): ChosenInstances {
  const wanted = Object.entries(choice.metadata);
  const matching = found.endpoints.filter(({ metadata }) => hasMetadata(metadata, wanted));
  const left = new Map<string, Excluded>();
  const endpoints = matching.flatMap((instance): readonly Endpoint[] => {
    const endpoint = withPort(instance, choice);
    const reason = isAllowed(endpoint, rules) ? undefined : 'AddressNotAllowed';
    const unit = unitOf(endpoint, choice);
    if (reason === undefined && unit !== 0) return [withUnit(endpoint, unit)];
    const { address: host, port } = endpoint;
    left.set(`${host} ${port}`, {
      host,
      ...(port === undefined ? {} : { port }),
      reason: reason ?? 'WeightZero',
    });
    return [];
  });
  return {
    found: { ...found, endpoints },
    leftOut: [...left.values()],
    unmatched: found.endpoints.length - matching.length,
  };
}

function hasMetadata(
  metadata: Endpoint['metadata'] = {},
  wanted: readonly (readonly [string, readonly string[]])[],
): boolean {
  return wanted.every(
    ([key, values]) => Object.hasOwn(metadata, key) && values.includes(metadata[key] ?? ''),
  );
}

const MAX_PORT = 65_535;

/** Without a port if the metadata has no valid one. */
function withPort(instance: Endpoint, { portKey }: InstanceChoice): Endpoint {
  if (portKey === undefined) return instance;
  const { metadata = {}, port: _port, ...rest } = instance;
  const text = Object.hasOwn(metadata, portKey) ? (metadata[portKey] ?? '') : '';
  const port = /^[1-9][0-9]{0,4}$/.test(text) ? Number(text) : undefined;
  return { ...rest, metadata, ...(port === undefined || port > MAX_PORT ? {} : { port }) };
}

/** Both the registry and the gateway must allow an address. */
function isAllowed(
  { address, family }: Endpoint,
  { registry, connection, isNamespace }: AddressRules,
): boolean {
  const policies = [hostPolicy(registry === undefined ? {} : { addresses: registry }), connection];
  if (family !== undefined) return policies.every((policy) => policy.ofAddress(address) === undefined);
  return (
    registry?.names === 'Allow' &&
    NAME.test(address) &&
    policies.every((policy) => policy.ofHost(address, isNamespace) === undefined)
  );
}

/** A DNS name. Some resolvers accept an underscore. */
const NAME = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

const UNITS_PER_WEIGHT = 100;
/**
 * The largest weight in Consul. A lower bound would make all larger weights equal, and often 100 is the usual one. `weigh` reduces
 * the units of a backend together where their sum is too large for a gateway, so that their ratios stay.
 */
const MAX_WEIGHT = 65_535;

/** 0: the instance receives no traffic. Nacos has fractional weights with the default 1.0. */
function unitOf({ weight }: Endpoint, { weights }: InstanceChoice): number | undefined {
  if (weight === undefined || weights === 'Equal') return undefined;
  // Also for NaN.
  if (!(weight > 0)) return 0;
  return Math.max(1, Math.round(UNITS_PER_WEIGHT * Math.min(weight, MAX_WEIGHT)));
}

function withUnit({ weight: _weight, ...endpoint }: Endpoint, unit: number | undefined): Endpoint {
  return unit === undefined ? endpoint : { ...endpoint, weight: unit };
}
