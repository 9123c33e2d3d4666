import { z } from 'zod';
import { addressing } from './addressing.ts';
import { ipRanges } from './ip-ranges.ts';
import { namespaceSelector } from './namespace-selector.ts';
import {
  conditions,
  count,
  DELETION_TIMEOUT,
  dnsSubdomain,
  durationBetween,
  observedGeneration,
  pendingStatus,
  text,
  withRules,
} from './schema.ts';
import { sectionOf, type VendorSection } from './vendor-section.ts';

const allowedNamespaces = namespaceSelector.describe(
  'Namespaces whose GatewayUpstreams may use this gateway: the union of `names`, `match` and `selector`, without `notMatch`. If absent, no namespace may use it.',
);

const addresses = z
  .object({
    allow: ipRanges.describe(
      'Address ranges in CIDR notation that are allowed although they are denied by default, for example `169.254.20.10/32`. Loopback, link-local, unspecified, multicast and broadcast addresses are denied by default.',
    ),
    deny: ipRanges.describe(
      'Address ranges in CIDR notation that are denied, for example `10.0.0.0/24`. They take precedence over `allow`.',
    ),
  })
  .describe(
    'Which IP addresses may be nodes in this gateway. This applies to every kind of backend. The operator excludes endpoints with other addresses (`AddressNotAllowed`). An IPv4 address embedded in an IPv6 address counts as that IPv4 address.',
  );

const policy = z.enum(['Deny', 'Allow']);

const tenantPolicy = z
  .object({
    upstreamIds: z
      .enum(['Prefixed', 'Any'])
      .default('Prefixed')
      .describe(
        'Which ids a GatewayUpstream may set in `upstreamId`. Prefixed: ids that start with `<idPrefix><namespace>.`. Any: every id.',
      ),
    adoption: policy
      .default('Deny')
      .describe(
        'Whether a GatewayUpstream may take over upstreams that other clients created (`adoptionPolicy: IfUnowned`) or manage their nodes (`manage: Nodes`).',
      ),
    staticAddresses: policy
      .default('Deny')
      .describe(
        'Whether a GatewayUpstream may use addresses outside the cluster: backends with `addresses`, Services of type ExternalName, and a `dnsSuffix` that is neither the default nor the one of this GatewayConnection.',
      ),
    overrides: policy
      .default('Deny')
      .describe('Whether a GatewayUpstream may set raw fields of the gateway (`overrides`).'),
    probePorts: z
      .enum(['Own', 'Any'])
      .default('Own')
      .describe(
        'Which ports health probes may use when the nodes are not Pods in the namespace of the GatewayUpstream: with addressing modes Node and LoadBalancer, for Services in other namespaces, and for instances in a ServiceRegistry. Own: only the port of the node itself; `healthCheck.active.port` is rejected. Any: every port, including for example the port of the kubelet.',
      ),
  })
  .describe('What namespace owners may do with this gateway.');

/** Fields that do not depend on the type of the gateway. */
const commonFields = {
  idPrefix: withRules(z.string().max(32), [
    {
      rule: "self.matches('^[a-zA-Z0-9._-]*$')",
      message: 'idPrefix must be at most 32 letters, digits, ".", "_" and "-"',
      holds: (value) => /^[a-zA-Z0-9._-]*$/.test(value),
    },
    {
      rule: 'self == oldSelf',
      message:
        'idPrefix is immutable, because routes refer to ids that start with it: create another GatewayConnection',
    },
  ])
    .default('')
    .describe(
      'Prefix of default upstream ids, which are `<idPrefix><namespace>.<name>`. Use it when several clusters share a gateway. Immutable.',
    ),
  limits: z
    .object({
      concurrency: z
        .int()
        .min(1)
        .max(64)
        .default(8)
        .describe('Maximum number of concurrent requests to the gateway.'),
      requestsPerSecond: z
        .int()
        .min(1)
        .max(10_000)
        .optional()
        .describe('Maximum number of requests per second to the gateway. Default: no limit.'),
    })
    .default({ concurrency: 8 })
    .describe('Limits on the requests of the operator to this gateway.'),
  allowedNamespaces: allowedNamespaces.optional(),
  allowedRegistries: z
    .array(
      text(253, {
        pattern: dnsSubdomain,
        message: 'must be the name of a ServiceRegistry: lowercase letters, digits, "-" and "."',
      }),
    )
    .max(64)
    .refine((names) => new Set(names).size === names.length, 'must not list a registry twice')
    .optional()
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe(
      'Names of the ServiceRegistries whose instances may be nodes in this gateway, at most 64. If absent, no registry may be used.',
    ),
  addressing: addressing
    .optional()
    .describe(
      'How this gateway reaches Services. A backend can override it. Default: mode Pod, which requires that the gateway can reach Pod addresses.',
    ),
  addresses: addresses.optional(),
  tenantPolicy: tenantPolicy.default({
    upstreamIds: 'Prefixed',
    adoption: 'Deny',
    staticAddresses: 'Deny',
    overrides: 'Deny',
    probePorts: 'Own',
  }),
  deletionTimeout: durationBetween('0s', '168h')
    .default(DELETION_TIMEOUT)
    .describe(
      'How long the deletion of this object waits until the gateway lists no upstream of this operator, for example `10m`. The time starts when the last GatewayUpstream that uses this connection is deleted. After the timeout the object is deleted, and remaining upstreams stay in the gateway.',
    ),
};

function connectionFields(types: readonly string[], sections: Readonly<Record<string, z.ZodType>>) {
  return { type: z.enum(types).describe('Type of the gateway.'), ...sections, ...commonFields };
}

/** The spec of a GatewayConnection with the sections of `vendors`. The section of its type is required. */
export function gatewayConnectionSchema(vendors: readonly VendorSection[]) {
  const sections = vendors.map(({ section, connectionSchema }) => [section, connectionSchema.optional()]);
  return withRules(
    z.object(
      connectionFields(
        vendors.map(({ type }) => type),
        Object.fromEntries(sections) as Record<never, z.ZodType>,
      ),
    ),
    vendors.flatMap((vendor) => sectionRules(vendor, vendors.length > 1)),
  );
}

function sectionRules({ type, section, requiredFields }: VendorSection, hasOthers: boolean) {
  const needed = {
    rule: `self.type != '${type}' || has(self.${section})`,
    message: `type ${type} needs the field ${section} with ${requiredFields}`,
    holds: (value: { readonly type: string }) =>
      value.type !== type || sectionOf(value, section) !== undefined,
  };
  const alone = {
    rule: `self.type == '${type}' || !has(self.${section})`,
    message: `${section} is allowed only with type ${type}: remove it`,
    holds: (value: { readonly type: string }) =>
      value.type === type || sectionOf(value, section) === undefined,
  };
  return hasOthers ? [needed, alone] : [needed];
}

/** Without the section of the vendor, which only the code of the vendor reads (`sectionOf`). */
export type GatewayConnectionSpec = z.output<ReturnType<typeof gatewayConnectionSchema>>;

/** Maximum length of `status.dataPlanes.unreachable`. */
export const MAX_UNREACHABLE = 10;

export const gatewayConnectionStatus = z
  .object({
    observedGeneration,
    gatewayVersion: z
      .string()
      .optional()
      .describe('Version that the gateway reports, for example `3.18.0`. Absent if it does not report one.'),
    capabilities: z
      .array(
        z.object({
          name: z.string().max(64).describe('Name of the capability, for example `NodeVerification`.'),
          supported: z.boolean().describe('Whether this gateway supports the capability.'),
          since: z
            .string()
            .max(32)
            .describe('First gateway version that supports the capability, for example `3.19.0`.'),
        }),
      )
      .max(32)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
      .describe(
        'Features that only some versions of the gateway support. Absent if the gateway does not report its version.',
      ),
    upstreams: count
      .optional()
      .describe('Number of GatewayUpstreams in watched namespaces that refer to this connection.'),
    leftBehind: z
      .array(z.string().max(64))
      .max(256)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        'Ids of upstreams whose GatewayUpstream was deleted with `deletionPolicy: Orphan` while the gateway was unavailable. The operator does not delete these upstreams.',
      ),
    dataPlanes: z
      .object({
        total: count.describe('Number of data planes that `controlApi` resolves to.'),
        reachable: count.describe('Number of data planes whose Control API responds.'),
        unreachable: z
          .array(
            z.object({
              dataPlane: z.string().max(512).describe('URL of the Control API of the data plane.'),
              message: z.string().max(1024).describe('What is wrong and what to do.'),
            }),
          )
          .max(MAX_UNREACHABLE)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(`Data planes that do not respond: the first ${MAX_UNREACHABLE}, ordered by URL.`),
        message: z
          .string()
          .max(1024)
          .optional()
          .describe('Why `controlApi.serviceRef` resolves to no data plane, and what to do.'),
      })
      .optional()
      .describe(
        'State of the data planes. Present only if `controlApi` is set. It does not affect conditions. Updated at most every 10 seconds.',
      ),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type GatewayConnectionStatus = z.output<typeof gatewayConnectionStatus>;
