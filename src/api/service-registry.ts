import { z } from 'zod';
import { ipRanges } from './ip-ranges.ts';
import { namespaceSelector } from './namespace-selector.ts';
import type { RegistrySection } from './registry-section.ts';
import {
  conditions,
  count,
  durationBetween,
  observedGeneration,
  pendingStatus,
  withRules,
} from './schema.ts';
import { NAMESPACE_PLACEHOLDER, servicePattern } from './service-pattern.ts';

const tenantPolicy = z
  .object({
    services: z
      .array(servicePattern)
      .max(32)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `Regular expressions for service names, at most 32. One of them must match the whole name of a service. \`${NAMESPACE_PLACEHOLDER}\` stands for the namespace of the GatewayUpstream, for example \`^${NAMESPACE_PLACEHOLDER}[.].+$\`. After it, use a character that no namespace name contains, such as \`.\` or \`_\`: \`^${NAMESPACE_PLACEHOLDER}-.+$\` lets namespace \`pay\` use the services of namespace \`pay-roll\`. Default: every service. An empty list: no service.`,
      ),
  })
  .describe('What namespace owners may use in this registry.');

const addresses = z
  .object({
    allow: ipRanges.describe(
      'Address ranges in CIDR notation that are allowed although they are denied by default, for example `169.254.20.10/32`. Loopback, link-local, unspecified, multicast and broadcast addresses are denied by default. The GatewayConnection must allow them as well.',
    ),
    deny: ipRanges.describe(
      'Address ranges in CIDR notation that are denied, for example the ranges of Pods, Services and cluster nodes. They take precedence over `allow`.',
    ),
    names: z
      .enum(['Deny', 'Allow'])
      .default('Deny')
      .describe(
        'Whether an instance may have a DNS name in place of an IP address. The gateway resolves it, so the operator cannot check the address. Names inside the cluster are never allowed.',
      ),
  })
  .describe(
    'Which addresses of instances may be nodes in a gateway. Clients that can register an instance choose its address. The operator excludes instances with other addresses (`AddressNotAllowed`). An IPv4 address embedded in an IPv6 address counts as that IPv4 address.',
  );

const sharedFields = {
  limits: z
    .object({
      concurrentQueries: z
        .int()
        .min(1)
        .max(1000)
        .default(100)
        .describe(
          'Queries that the operator sends to the registry at the same time. A Consul agent accepts 200 connections per client by default.',
        ),
      requestsPerSecond: z
        .int()
        .min(1)
        .max(10_000)
        .optional()
        .describe(
          'Requests that the operator sends to the registry per second. With a small number, an answer can be as old as the time that one round through all followed services takes. Default: no limit.',
        ),
      servicesPerNamespace: z
        .int()
        .min(1)
        .max(100_000)
        .default(1000)
        .describe(
          'Maximum number of services that the operator follows for the GatewayUpstreams of one namespace. Backends with further services have the reason `TooManyServices`, and their current nodes are unchanged.',
        ),
    })
    .prefault({})
    .describe('Limits for requests to the registry.'),
  requestTimeout: durationBetween('100ms', '60s')
    .default('5s')
    .describe(
      'How long the registry may take to answer a request, beyond the time that it waits for a change.',
    ),
  pollInterval: durationBetween('1s', '1m')
    .default('5s')
    .describe(
      'Pause between two requests for the same service. Only Nacos and Eureka use it; the other registries report changes.',
    ),
  vanishedHold: durationBetween('0s', '1h')
    .default('90s')
    .describe(
      'How long the removal guard keeps instances that the registry no longer lists. No registry shows reliably whether an instance was deregistered or the registry lost it.',
    ),
  allowedNamespaces: namespaceSelector
    .optional()
    .describe(
      'Namespaces whose GatewayUpstreams may use this registry: the union of `names`, `match` and `selector`, without `notMatch`. If absent, no namespace may use it.',
    ),
  tenantPolicy: tenantPolicy.prefault({}),
  addresses: addresses.optional(),
};

/** The spec of a ServiceRegistry of one of `types`. */
export function serviceRegistrySchema(types: readonly [RegistrySection, ...RegistrySection[]]) {
  const sections = Object.fromEntries(
    types.map(({ section, registrySchema }) => [section, registrySchema.optional()]),
  ) as Record<never, z.ZodType>;
  const has = (value: object, section: string) =>
    (value as Readonly<Record<string, unknown>>)[section] !== undefined;
  return withRules(
    z.object({
      type: z
        .enum(types.map(({ type }) => type) as [string, ...string[]])
        .describe('Type of the registry. The field with the matching name is required. Immutable.'),
      ...sections,
      ...sharedFields,
    }),
    [
      {
        rule: 'self.type == oldSelf.type',
        message: 'type is immutable: create another ServiceRegistry',
        fieldPath: '.type',
      },
      ...types.map(({ type, section }) => ({
        rule: `has(self.${section}) == (self.type == '${type}')`,
        message: `${section} is required with type ${type} and not allowed with any other type`,
        holds: (value: { readonly type: string }) => has(value, section) === (value.type === type),
      })),
    ],
  );
}

/** Without the sections of the registry types. */
export type ServiceRegistrySpec = z.output<ReturnType<typeof serviceRegistrySchema>>;

export const serviceRegistryStatus = z
  .object({
    observedGeneration,
    version: z
      .string()
      .max(64)
      .optional()
      .describe('Version that the registry reports, for example `1.21.5`. Absent if it does not report one.'),
    api: z
      .string()
      .max(64)
      .optional()
      .describe(
        'API of the registry that the operator uses, for example `v3`. Absent if the registry has only one.',
      ),
    users: count
      .optional()
      .describe('Number of GatewayUpstreams in watched namespaces that refer to this registry.'),
    followedServices: count
      .optional()
      .describe(
        'Number of services that the operator follows. GatewayUpstreams that use the same service share it. Updated at most every 10 seconds.',
      ),
    lastCompleteAnswerTime: z
      .string()
      .meta({ format: 'date-time' })
      .optional()
      .describe(
        'Time of the last complete answer of the registry about a service. While the registry is ready, it is updated every 5 minutes.',
      ),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type ServiceRegistryStatus = z.output<typeof serviceRegistryStatus>;
