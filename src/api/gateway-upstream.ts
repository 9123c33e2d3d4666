import { z } from 'zod';
import { addressing } from './addressing.ts';
import { policyFields } from './policies.ts';
import { registryBackend } from './registry-backend.ts';
import type { RegistrySection } from './registry-section.ts';
import { celMatches, dnsSubdomain, text, withRules } from './schema.ts';
import { serviceRefName, serviceRefNamespace, serviceRefPort } from './service-ref.ts';
import { trafficFields } from './traffic.ts';
import type { VendorSection } from './vendor-section.ts';

const serviceName =
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?\/[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** `<name>.<namespace>`, with any part of the cluster domain and an optional port after it. */
const serviceDnsName = /^[a-z0-9-]+[.][a-z0-9-]+([.]svc([.][a-z0-9.-]*)?)?(:.*)?$/;

const serviceWithoutPort = /^[a-z0-9-]+\/[a-z0-9-]+:?$/;

const host = /^([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*)$/;

/** Resolvers treat a host that ends like this as an IPv4 address, not as a name. */
const numericEnd = /(^|[.])([0-9]+|0[xX][0-9a-fA-F]*)$/;

const ipv4 = /^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}|.*:.*)$/;

const port = z.int().min(1).max(65535);

const serviceRef = z
  .object({
    name: serviceRefName,
    namespace: serviceRefNamespace
      .optional()
      .describe(
        'Namespace of the Service. Default: the namespace of this object. A Service in another namespace requires a ReferenceGrant (Gateway API) in that namespace.',
      ),
    port: serviceRefPort,
  })
  .describe(
    'A port of a Service. The nodes of the upstream follow its ready endpoints. `addressing` selects which addresses are used.',
  );

const staticAddress = z.object({
  host: withRules(z.string().max(253), [
    {
      rule: celMatches('self', host),
      message:
        'host must be an IP address or a DNS name, without scheme, port, path or brackets, for example 192.0.2.10 or db.example.com',
      holds: (value) => host.test(value),
    },
    {
      rule: `!${celMatches('self', numericEnd)} || ${celMatches('self', ipv4)}`,
      message:
        'a host that ends in a number must be an IPv4 address: four numbers from 0 to 255, for example 192.0.2.10',
      holds: (value) => !numericEnd.test(value) || ipv4.test(value),
    },
    {
      rule: "self.contains('.') || self.contains(':') || self.lowerAscii() == 'localhost'",
      message:
        'a name without a dot can resolve to a Service inside the cluster: use serviceRef, or write the full name, for example db.example.com',
      // Checked only at admission: an older object keeps a valid spec, so that it can be deleted. HostPolicy denies such a
      // name and removes its nodes.
    },
  ]).describe(
    'IPv4 address, IPv6 address without brackets, or full DNS name, for example `192.0.2.10`, `2001:db8::10` or `db.example.com`. Names inside the cluster are not allowed: use `serviceRef`.',
  ),
  port: port.describe('Port number.'),
  weight: z
    .int()
    .min(0)
    .max(100)
    .default(1)
    .describe('Share of the traffic of this backend, relative to its other addresses. 0: no traffic.'),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .default(0)
    .describe(
      'Priority within this backend. Addresses with a lower priority receive traffic only when all addresses with a higher priority fail.',
    ),
});

const backendFields = {
  serviceRef: serviceRef.optional(),
  serviceName: text(200, {
    pattern: serviceName,
    message: 'serviceName must be [namespace]/[name]:[portName] in lower case, for example default/cms:http',
    messageExpression: `'serviceName must be [namespace]/[name]:[portName]' + (${celMatches('self', serviceDnsName)} ? ': write ' + self.split(':')[0].split('.')[1] + '/' + self.split('.')[0] + ':<portName> instead of ' + self : ${celMatches('self', serviceWithoutPort)} ? ': write ' + self.split(':')[0] + ':<portName>' : ' in lower case, for example default/cms:http')`,
  })
    .optional()
    .describe(
      'A Service in APISIX notation, `[namespace]/[name]:[portName]`, for example `default/cms:http`. `portName` is the name of an endpoint port, or the number of an unnamed one. A Service in another namespace requires a ReferenceGrant (Gateway API) in that namespace.',
    ),
  addresses: z
    .array(staticAddress)
    .min(1)
    .max(128)
    .optional()
    .describe(
      'Fixed addresses outside the cluster, 1 to 128. The GatewayConnection must allow them (`tenantPolicy.staticAddresses`).',
    ),
  weight: z
    .int()
    .min(0)
    .max(100)
    .default(1)
    .describe(
      'Share of the traffic, relative to the other backends and independent of the number of endpoints. 0: no traffic.',
    ),
  addressing: addressing
    .optional()
    .describe(
      'How the gateway reaches this Service. Replaces `spec.addressing` of the GatewayConnection as a whole.',
    ),
};

/** The fields of which a backend sets exactly one. */
function backendKinds(registries: readonly RegistrySection[]): readonly string[] {
  return ['serviceRef', 'serviceName', ...(registries.length === 0 ? [] : ['registryRef']), 'addresses'];
}

/** A backend, which may also refer to a registry of one of these types. */
function backendSchema(registries: readonly RegistrySection[]) {
  const registry = registries.length === 0 ? { fields: {}, rules: [] } : registryBackend(registries);
  const kinds = backendKinds(registries);
  return withRules(z.object({ ...backendFields, ...(registry.fields as Record<never, z.ZodType>) }), [
    {
      rule: '!has(self.addressing) || !has(self.addresses)',
      message: 'addressing applies only to Services: remove addressing or addresses',
      holds: (value) => value.addressing === undefined || value.addresses === undefined,
    },
    ...registry.rules,
    {
      rule: `${kinds.map((kind) => `(has(self.${kind}) ? 1 : 0)`).join(' + ')} == 1`,
      message: `a backend must set exactly one of ${kinds.slice(0, -1).join(', ')} and ${kinds.at(-1)}`,
      holds: (value) =>
        kinds.filter((kind) => (value as Readonly<Record<string, unknown>>)[kind] !== undefined).length === 1,
    },
  ]);
}

const zones = z
  .array(
    z.object({
      zone: text(63, {
        pattern: /^[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?$/,
        message:
          'zone must be a value of the node label topology.kubernetes.io/zone, for example eu-central-1a',
      }).describe(
        'Name of the zone: the value of the node label `topology.kubernetes.io/zone`, for example `eu-central-1a`.',
      ),
      priority: z
        .int()
        .min(-100)
        .max(100)
        .default(0)
        .describe(
          'Priority of the zone. Zones with a lower priority receive traffic only when all zones with a higher priority fail.',
        ),
      weight: z
        .int()
        .min(0)
        .max(100)
        .default(100)
        .describe(
          'Weight of an endpoint in this zone, in percent of its normal weight. 0: endpoints in this zone are excluded.',
        ),
    }),
  )
  .min(1)
  .max(16)
  .refine((list) => new Set(list.map(({ zone }) => zone)).size === list.length, 'must not list a zone twice')
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['zone'] });

const endpoints = z
  .object({
    family: z
      .enum(['IPv4', 'IPv6'])
      .optional()
      .describe('IP family of the addresses. Default: the first entry of `ipFamilies` of the Service.'),
    drain: z
      .enum(['Remove', 'ZeroWeight'])
      .default('Remove')
      .describe(
        'How endpoints are handled that are terminating and still serving while other endpoints are ready. Remove: the operator removes them from the upstream. ZeroWeight: they stay in the upstream with weight 0 until they stop.',
      ),
    zones: zones
      .optional()
      .describe(
        'Priority and weight of endpoints by zone, at most 16 zones. A zone that is not listed has priority 0 and weight 100. Only addressing modes Pod and Node use zones.',
      ),
  })
  .describe('Which endpoints become nodes, and how.');

function backendsSchema(registries: readonly RegistrySection[]) {
  return z
    .array(backendSchema(registries))
    .min(1)
    .max(16)
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe(
      `Sources of the nodes of the upstream, 1 to 16. Each backend sets exactly one of ${backendKinds(registries).join(', ')}. Traffic is divided by \`weight\`.`,
    );
}

/** The schema of `backends` without registries. A set creates such backends from Services. */
export const backends = backendsSchema([]);

const identityFields = {
  connectionRef: z
    .object({
      name: text(253, {
        pattern: dnsSubdomain,
        message:
          'name must be the name of a GatewayConnection, for example default: lowercase letters, digits, "-" and "."',
      }).describe('Name of the GatewayConnection.'),
    })
    .default({ name: 'default' })
    .describe(
      'The GatewayConnection, and so the gateway, that the upstream is written to. Default: the one with the name `default`. Immutable.',
    ),
  upstreamId: withRules(z.string().max(64), [
    {
      rule: "self.matches('^[a-zA-Z0-9._-]+$') && self != '.' && self != '..'",
      message: 'upstreamId must be 1 to 64 letters, digits, ".", "_" and "-", and neither "." nor ".."',
      holds: (value) => /^[a-zA-Z0-9._-]+$/.test(value) && value !== '.' && value !== '..',
    },
  ])
    .optional()
    .describe(
      'Id of the upstream in the gateway. Routes refer to it. Default: `<idPrefix><namespace>.<name>`. Another id must start with `<idPrefix><namespace>.`, unless the GatewayConnection allows any (`tenantPolicy.upstreamIds`). Immutable: it cannot be added or removed later.',
    ),
};

function upstreamFields(
  sections: Readonly<Record<string, z.ZodType>>,
  registries: readonly RegistrySection[],
) {
  return {
    ...identityFields,
    backends: backendsSchema(registries),
    endpoints: endpoints.optional(),
    ...trafficFields,
    ...sections,
    ...policyFields,
  };
}

/** The spec of a GatewayUpstream with the sections of `vendors`. */
export function gatewayUpstreamSchema(
  vendors: readonly VendorSection[],
  registries: readonly RegistrySection[] = [],
) {
  const sections = Object.fromEntries(
    vendors.flatMap(({ section, upstreamSchema }) =>
      upstreamSchema === undefined ? [] : [[section, upstreamSchema]],
    ),
  ) as Record<never, z.ZodType>;
  return withRules(z.object(upstreamFields(sections, registries)), [
    {
      rule: 'self.connectionRef == oldSelf.connectionRef',
      message: 'connectionRef is immutable: delete this object and create a new one',
      fieldPath: '.connectionRef',
    },
    {
      rule: 'has(self.upstreamId) == has(oldSelf.upstreamId) && (!has(self.upstreamId) || self.upstreamId == oldSelf.upstreamId)',
      message:
        'upstreamId is immutable and cannot be added or removed: delete this object and create a new one',
      fieldPath: '.upstreamId',
    },
    {
      rule: 'self.manage == oldSelf.manage',
      message:
        'manage is immutable: set deletionPolicy to Orphan, delete this object and create a new one (the upstream does not change in the meantime)',
      fieldPath: '.manage',
    },
    ...[...Object.keys(trafficFields), ...Object.keys(sections)].map((field) => ({
      rule: `self.manage != 'Nodes' || !has(self.${field})`,
      message: `with manage Nodes, the operator writes only the nodes of the upstream: remove ${field}`,
      fieldPath: `.${field}`,
      holds: (value: Readonly<Record<string, unknown>>) =>
        value['manage'] !== 'Nodes' || value[field] === undefined,
    })),
    {
      rule: "self.manage != 'Nodes' || self.deletionPolicy != 'Force'",
      message: 'with manage Nodes, the operator never deletes the upstream: remove deletionPolicy',
      fieldPath: '.deletionPolicy',
      holds: ({ manage, deletionPolicy }) => manage !== 'Nodes' || deletionPolicy !== 'Force',
    },
    {
      rule: "self.manage != 'Nodes' || self.adoptionPolicy == 'Never'",
      message: 'with manage Nodes, the operator does not take over the upstream: remove adoptionPolicy',
      fieldPath: '.adoptionPolicy',
      holds: ({ manage, adoptionPolicy }) => manage !== 'Nodes' || adoptionPolicy === 'Never',
    },
  ]);
}

const commonFields = new Set(Object.keys(upstreamFields({}, [])));

/** Names of the fields in a parsed spec that are vendor sections. */
export function vendorSectionsOf(spec: object): readonly string[] {
  return Object.keys(spec).filter((field) => !commonFields.has(field));
}

/** Without the vendor sections (`upstreamSectionOf`). */
export type GatewayUpstreamSpec = z.output<ReturnType<typeof gatewayUpstreamSchema>>;

export type Backend = GatewayUpstreamSpec['backends'][number];
