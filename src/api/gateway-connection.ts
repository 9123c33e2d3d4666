import { z } from 'zod';
import { addressing } from './addressing.ts';
import { parseIpRange } from './ip-address.ts';
import { namespaceSelector } from './namespace-selector.ts';
import {
  celMatches,
  conditions,
  count,
  DELETION_TIMEOUT,
  durationBetween,
  observedGeneration,
  pendingStatus,
  withRules,
} from './schema.ts';
import { sectionOf, type VendorSection } from './vendor-section.ts';

const allowedNamespaces = namespaceSelector.describe(
  'Namespaces whose GatewayUpstreams may use this gateway. Absent: none.',
);

/** Loose for IPv6, which `parseIpRange` reads exactly. */
const ipRange =
  /^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}\/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F]*:[0-9a-fA-F:.]*\/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$/;
const ipRanges = z
  .array(
    withRules(z.string().max(49), [
      {
        rule: celMatches('self', ipRange),
        message: 'must be a range in CIDR notation, for example 127.0.0.0/8 or fe80::/10',
        holds: (value) => parseIpRange(value) !== undefined,
      },
    ]),
  )
  .max(64)
  .optional()
  .meta({ 'x-kubernetes-list-type': 'atomic' });

const addresses = z
  .object({
    allow: ipRanges.describe(
      'Ranges of addresses that are allowed although they are denied by default: loopback, link-local, unspecified, multicast and broadcast addresses.',
    ),
    deny: ipRanges.describe('Ranges of addresses that are denied, whatever else allows them.'),
  })
  .describe(
    'Which IP addresses may be nodes of this gateway, wherever they come from. An endpoint with another one is left out (`AddressNotAllowed`). IPv4 addresses within IPv6 ones count as what they are.',
  );

const policy = z.enum(['Deny', 'Allow']);

const tenantPolicy = z
  .object({
    upstreamIds: z
      .enum(['Prefixed', 'Any'])
      .default('Prefixed')
      .describe('Prefixed: an upstreamId must begin with `<idPrefix><namespace>.`.'),
    adoption: policy.default('Deny').describe('Taking over upstreams that nobody owns.'),
    staticAddresses: policy
      .default('Deny')
      .describe(
        "Places outside the cluster: `addresses`, Services of type ExternalName, and a `dnsSuffix` other than the connection's.",
      ),
    overrides: policy.default('Deny').describe('Raw fields of the gateway.'),
    probePorts: z
      .enum(['Own', 'Any'])
      .default('Own')
      .describe(
        "Which ports health probes may go to where the nodes are not Pods of the tenant: addressing modes Node and LoadBalancer, and Services of another namespace. Own: the node's own port, so that `healthCheck.active.port` is refused. Any: every port, for example that of the kubelet.",
      ),
  })
  .describe('What the owner of a namespace may do with this gateway.');

/** What every GatewayConnection has, whatever its gateway. */
const commonFields = {
  idPrefix: withRules(z.string().max(32), [
    {
      rule: "self.matches('^[a-zA-Z0-9._-]*$')",
      message: 'idPrefix is up to 32 of letters, digits, ".", "_" and "-"',
      holds: (value) => /^[a-zA-Z0-9._-]*$/.test(value),
    },
    {
      rule: 'self == oldSelf',
      message: 'idPrefix is immutable: routes refer to the ids that begin with it',
    },
  ])
    .default('')
    .describe('What every default upstream id begins with. Immutable.'),
  limits: z
    .object({
      concurrency: z.int().min(1).max(64).default(8).describe('Requests under way at once.'),
      requestsPerSecond: z.int().min(1).max(10_000).optional().describe('Default: no limit.'),
    })
    .default({ concurrency: 8 })
    .describe('What the operator may ask of this gateway.'),
  allowedNamespaces: allowedNamespaces.optional(),
  addressing: addressing
    .optional()
    .describe(
      'How this gateway reaches Services where a backend says nothing else. Default: mode Pod, which needs a gateway that reaches Pods.',
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
      'How long a deletion waits for the gateway to confirm that it holds no upstream of this operator any more, from when the last GatewayUpstream that uses the connection is gone. After that the connection is deleted, and what the gateway still holds stays there.',
    ),
};

function connectionFields(types: readonly string[], sections: Readonly<Record<string, z.ZodType>>) {
  return { type: z.enum(types).describe('Kind of gateway.'), ...sections, ...commonFields };
}

/** The spec of a GatewayConnection with the sections of `vendors`, each of which its type needs. */
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
    message: `type ${type} needs the section ${section} with ${requiredFields}`,
    holds: (value: { readonly type: string }) =>
      value.type !== type || sectionOf(value, section) !== undefined,
  };
  const alone = {
    rule: `self.type == '${type}' || !has(self.${section})`,
    message: `the section ${section} is for type ${type}: remove it`,
    holds: (value: { readonly type: string }) =>
      value.type === type || sectionOf(value, section) === undefined,
  };
  return hasOthers ? [needed, alone] : [needed];
}

/** Without the section of its type, which only the vendor's own code reads (`sectionOf`). */
export type GatewayConnectionSpec = z.output<ReturnType<typeof gatewayConnectionSchema>>;

/** As many as `status.dataPlanes.unreachable` holds. */
export const MAX_UNREACHABLE = 10;

export const gatewayConnectionStatus = z
  .object({
    observedGeneration,
    gatewayVersion: z.string().optional().describe('What the gateway says of itself, for example `3.18.0`.'),
    capabilities: z
      .array(
        z.object({
          name: z.string().max(64).describe('What it is.'),
          supported: z.boolean().describe('Whether this gateway can.'),
          since: z.string().max(32).describe('The first version of a gateway that can.'),
        }),
      )
      .max(32)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
      .describe('What only some versions of the gateway can do. Absent where it does not say its version.'),
    upstreams: count
      .optional()
      .describe('How many GatewayUpstreams refer to this connection, of those that the operator follows.'),
    leftBehind: z
      .array(z.string().max(64))
      .max(256)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        'Ids of upstreams that were to stay (deletionPolicy Orphan) while the gateway could not be told. They are left alone.',
      ),
    dataPlanes: z
      .object({
        total: count.describe('Data planes that `controlApi` leads to.'),
        reachable: count.describe('Data planes whose Control API answers.'),
        unreachable: z
          .array(
            z.object({
              dataPlane: z.string().max(512).describe('Address of its Control API.'),
              message: z.string().max(1024).describe('What is wrong, and what to do.'),
            }),
          )
          .max(MAX_UNREACHABLE)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(`Data planes that do not answer, the first ${MAX_UNREACHABLE} by address.`),
        message: z
          .string()
          .max(1024)
          .optional()
          .describe('Why `controlApi.serviceRef` leads to no data plane, and what to do.'),
      })
      .optional()
      .describe(
        'The data planes, where `controlApi` is set. Changes no condition. At most one write in 10 s while it keeps changing.',
      ),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type GatewayConnectionStatus = z.output<typeof gatewayConnectionStatus>;
