import { z } from 'zod';
import { addressing } from './addressing.ts';
import type { RegistrySection } from './registry-section.ts';
import { celMatches, DELETION_TIMEOUT, dnsSubdomain, durationBetween, text, withRules } from './schema.ts';
import { serviceRefName, serviceRefNamespace, serviceRefPort } from './service-ref.ts';
import { trafficFields } from './traffic.ts';
import type { VendorSection } from './vendor-section.ts';

const serviceName =
  /^[a-z0-9]([-a-z0-9]*[a-z0-9])?\/[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** `<name>.<namespace>`, however much of the cluster's domain and whatever port follows. */
const serviceDnsName = /^[a-z0-9-]+[.][a-z0-9-]+([.]svc([.][a-z0-9.-]*)?)?(:.*)?$/;

const serviceWithoutPort = /^[a-z0-9-]+\/[a-z0-9-]+:?$/;

const host = /^([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*)$/;

/** What ends like this is an IPv4 address to every resolver, and no name. */
const numericEnd = /(^|[.])([0-9]+|0[xX][0-9a-fA-F]*)$/;

const ipv4 = /^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}|.*:.*)$/;

const port = z.int().min(1).max(65535);

const serviceRef = z
  .object({
    name: serviceRefName,
    namespace: serviceRefNamespace
      .optional()
      .describe(
        "Namespace of the Service. Default: the object's own. Another one must permit it by a ReferenceGrant of the Gateway API.",
      ),
    port: serviceRefPort,
  })
  .describe('A Service and one of its ports.');

const staticAddress = z.object({
  host: withRules(z.string().max(253), [
    {
      rule: celMatches('self', host),
      message: 'host must be an IP address or a DNS name, without scheme, port, path or brackets',
      holds: (value) => host.test(value),
    },
    {
      rule: `!${celMatches('self', numericEnd)} || ${celMatches('self', ipv4)}`,
      message:
        'a host that ends in a number is an IPv4 address: four numbers from 0 to 255, for example 192.0.2.10',
      holds: (value) => !numericEnd.test(value) || ipv4.test(value),
    },
    {
      rule: "self.contains('.') || self.contains(':') || self.lowerAscii() == 'localhost'",
      message:
        'a name without a dot leads into the cluster: use serviceRef, or write the complete name, for example db.example.com',
      // Only at admission: an object that is older than this rule keeps a valid spec, so that it can be deleted. HostPolicy
      // denies such a name, which removes its nodes.
    },
  ]).describe('IPv4 address, IPv6 address without brackets, or DNS name.'),
  port: port.describe('Port number.'),
  weight: z.int().min(0).max(100).default(1).describe('Share within this backend.'),
  priority: z
    .int()
    .min(-100)
    .max(100)
    .default(0)
    .describe('Addresses of a lower priority get traffic only when all of the higher ones fail.'),
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
      "APISIX's own spelling, `[namespace]/[name]:[portName]`. The part after the colon is the name of an endpoint port, or the number of an unnamed one. Another namespace than the object's own must permit it by a ReferenceGrant.",
    ),
  addresses: z
    .array(staticAddress)
    .min(1)
    .max(128)
    .optional()
    .describe('Places outside the cluster. The connection must allow them.'),
  weight: z
    .int()
    .min(0)
    .max(100)
    .default(1)
    .describe('Share of the traffic, however many endpoints this backend has. 0: none.'),
  addressing: addressing
    .optional()
    .describe("How the gateway reaches this Service. Replaces the connection's as a whole."),
};

const registryFields = {
  registryRef: z
    .object({
      name: text(253, { pattern: dnsSubdomain, message: 'name is the name of a ServiceRegistry' }).describe(
        'Name of the ServiceRegistry.',
      ),
    })
    .optional()
    .describe('A ServiceRegistry, which must allow the namespace of this object.'),
  service: z.string().min(1).max(253).optional().describe('Name of the service in that registry.'),
};

/** What a backend may be with these types of registries. Without any, none of their fields is there. */
function registryBackend(registries: readonly RegistrySection[]) {
  const sections = registries.filter(({ backendSchema }) => backendSchema !== undefined);
  const fields: Readonly<Record<string, z.ZodType>> = {
    ...registryFields,
    ...Object.fromEntries(
      sections.map(({ section, backendSchema = z.never() }) => [section, backendSchema.optional()]),
    ),
  };
  const leadsToRegistry = (value: object) =>
    (value as { readonly registryRef?: unknown }).registryRef !== undefined;
  const has = (value: object, field: string) =>
    (value as Readonly<Record<string, unknown>>)[field] !== undefined;
  const rules = ['service', ...sections.map(({ section }) => section)].map((field) => ({
    rule: `!has(self.${field}) || has(self.registryRef)`,
    message: `${field} is for registries: add registryRef, or remove it`,
    holds: (value: object) => !has(value, field) || leadsToRegistry(value),
  }));
  return {
    fields,
    rules: [
      {
        rule: '!has(self.registryRef) || (has(self.service) && !has(self.addressing))',
        message: 'a backend with registryRef needs service, and has no addressing',
        holds: (value: object) =>
          !leadsToRegistry(value) || (has(value, 'service') && !has(value, 'addressing')),
      },
      ...rules,
    ],
  };
}

/** A backend, which may also lead to one of these types of registries. */
function backendSchema(registries: readonly RegistrySection[]) {
  const registry = registries.length === 0 ? { fields: {}, rules: [] } : registryBackend(registries);
  const kinds = [
    'serviceRef',
    'serviceName',
    ...(registries.length === 0 ? [] : ['registryRef']),
    'addresses',
  ];
  return withRules(z.object({ ...backendFields, ...(registry.fields as Record<never, z.ZodType>) }), [
    {
      rule: '!has(self.addressing) || !has(self.addresses)',
      message: 'addressing is for Services: addresses are places already, so remove one',
      holds: (value) => value.addressing === undefined || value.addresses === undefined,
    },
    ...registry.rules,
    {
      rule: `${kinds.map((kind) => `(has(self.${kind}) ? 1 : 0)`).join(' + ')} == 1`,
      message: `a backend has exactly one of ${kinds.slice(0, -1).join(', ')} and ${kinds.at(-1)}`,
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
          'zone is what the label topology.kubernetes.io/zone of a node says, for example eu-central-1a',
      }).describe('Name of the zone.'),
      priority: z
        .int()
        .min(-100)
        .max(100)
        .default(0)
        .describe('Zones of a lower priority get traffic only when all of the higher ones fail.'),
      weight: z
        .int()
        .min(0)
        .max(100)
        .default(100)
        .describe('Share of an endpoint there. 100: a full one. 0: it is left out.'),
    }),
  )
  .min(1)
  .max(16)
  .refine((list) => new Set(list.map(({ zone }) => zone)).size === list.length, 'each zone once')
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['zone'] });

const endpoints = z
  .object({
    family: z
      .enum(['IPv4', 'IPv6'])
      .optional()
      .describe("IP family of the addresses. Default: the first of the Service's `ipFamilies`."),
    drain: z
      .enum(['Remove', 'ZeroWeight'])
      .default('Remove')
      .describe(
        'What becomes of endpoints that terminate and still serve while others are ready. Remove: they go. ZeroWeight: they stay with weight 0, so that the gateway knows them until they end.',
      ),
    zones: zones
      .optional()
      .describe(
        'What zones are worth to this gateway. One that is not listed has priority 0 and full weight.',
      ),
  })
  .describe('Which endpoints are used, and how.');

/** What `removalGuard` is where it is not given. */
export const REMOVAL_GUARD_DEFAULTS = { maxRemovalPercent: 50, holdFor: '5m', whenExpired: 'Clear' } as const;

/** Where the traffic goes. */
function backendsSchema(registries: readonly RegistrySection[]) {
  return z
    .array(backendSchema(registries))
    .min(1)
    .max(16)
    .meta({ 'x-kubernetes-list-type': 'atomic' })
    .describe('Where the traffic goes.');
}

/** Where the traffic goes, without registries. A set makes these from Services. */
export const backends = backendsSchema([]);

const identityFields = {
  connectionRef: z
    .object({
      name: text(253, {
        pattern: dnsSubdomain,
        message:
          'name is the name of a GatewayConnection, for example default: lower case letters, digits, "-" and "."',
      }).describe('Name of the GatewayConnection.'),
    })
    .default({ name: 'default' })
    .describe('The GatewayConnection whose gateway holds the upstream. Immutable.'),
  upstreamId: withRules(z.string().max(64), [
    {
      rule: "self.matches('^[a-zA-Z0-9._-]+$') && self != '.' && self != '..'",
      message: 'upstreamId is 1 to 64 of letters, digits, ".", "_" and "-"',
      holds: (value) => /^[a-zA-Z0-9._-]+$/.test(value) && value !== '.' && value !== '..',
    },
  ])
    .optional()
    .describe(
      'Id of the upstream in the gateway, for routes to refer to. Default: `<idPrefix><namespace>.<name>`. Immutable, also against being added or removed later.',
    ),
};

const policyFields = {
  removalGuard: z
    .object({
      maxRemovalPercent: z
        .int()
        .min(0)
        .max(100)
        .default(50)
        .describe(
          'The guard acts where no node would be left, or a larger share than this would go. 100: never.',
        ),
      holdFor: durationBetween('0s', '24h')
        .default('5m')
        .describe(
          'How long endpoints that are listed but not ready stay; those that vanished without terminating stay up to 30s.',
        ),
      whenExpired: z
        .enum(['Clear', 'Hold'])
        .default('Clear')
        .describe(
          'What becomes of endpoints that are not ready then. Hold: they stay until somebody accepts it.',
        ),
    })
    .default(REMOVAL_GUARD_DEFAULTS)
    .describe('Keeps endpoints in the gateway that went away all at once without an explanation.'),
  syncPolicy: z
    .enum(['Sync', 'UpsertOnly', 'Observe'])
    .default('Sync')
    .describe(
      'What the operator may write. Sync: all that is needed. UpsertOnly: never deletes the upstream; its nodes do change. Observe: nothing; `status.plan` says what it would do. Whatever this says, the upstream loses its nodes where the connection does not allow the namespace any more.',
    ),
  manage: z
    .enum(['Object', 'Nodes'])
    .default('Object')
    .describe(
      'What of the upstream is kept. Object: all of it. Nodes: only the nodes of an upstream that somebody else made and owns; it is never created or deleted, and nothing else of it is written. The connection must allow it (`tenantPolicy.adoption`). Immutable.',
    ),
  adoptionPolicy: z
    .enum(['Never', 'IfUnowned'])
    .default('Never')
    .describe(
      'What becomes of an upstream of this id that the gateway has already. Never: it is left alone. IfUnowned: it is taken over if it carries no labels of this operator, holds no field that this spec does not state, and would not lose all its nodes. The connection must allow it (`tenantPolicy.adoption`).',
    ),
  deletionPolicy: z
    .enum(['Delete', 'Orphan', 'Force'])
    .default('Delete')
    .describe(
      'What becomes of the upstream when this object is deleted. Delete: waits while a route refers to it. Orphan: it stays. Force: it goes, whatever refers to it.',
    ),
  deletionTimeout: durationBetween('0s', '168h')
    .default(DELETION_TIMEOUT)
    .describe('In a namespace that is being deleted, Delete becomes Orphan after this time.'),
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

/** The spec of a GatewayUpstream with the sections of those of `vendors` that have one. */
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
      message: 'connectionRef is immutable: delete this object and create another one',
      fieldPath: '.connectionRef',
    },
    {
      rule: 'has(self.upstreamId) == has(oldSelf.upstreamId) && (!has(self.upstreamId) || self.upstreamId == oldSelf.upstreamId)',
      message:
        'upstreamId is immutable and can be neither added nor removed: delete this object and create another one',
      fieldPath: '.upstreamId',
    },
    {
      rule: 'self.manage == oldSelf.manage',
      message:
        'manage is immutable: set deletionPolicy Orphan, delete this object and create another one (the upstream stays as it is meanwhile)',
      fieldPath: '.manage',
    },
    ...[...Object.keys(trafficFields), ...Object.keys(sections)].map((field) => ({
      rule: `self.manage != 'Nodes' || !has(self.${field})`,
      message: `with manage Nodes everything but the nodes is the upstream's owner's: remove ${field}`,
      fieldPath: `.${field}`,
      holds: (value: Readonly<Record<string, unknown>>) =>
        value['manage'] !== 'Nodes' || value[field] === undefined,
    })),
    {
      rule: "self.manage != 'Nodes' || self.deletionPolicy != 'Force'",
      message: 'with manage Nodes the upstream is never deleted: remove deletionPolicy',
      fieldPath: '.deletionPolicy',
      holds: ({ manage, deletionPolicy }) => manage !== 'Nodes' || deletionPolicy !== 'Force',
    },
    {
      rule: "self.manage != 'Nodes' || self.adoptionPolicy == 'Never'",
      message: 'with manage Nodes nothing is taken over: remove adoptionPolicy',
      fieldPath: '.adoptionPolicy',
      holds: ({ manage, adoptionPolicy }) => manage !== 'Nodes' || adoptionPolicy === 'Never',
    },
  ]);
}

const commonFields = new Set(Object.keys(upstreamFields({}, [])));

/** The fields of a spec, as its schema made it, that are sections of vendors. */
export function vendorSectionsOf(spec: object): readonly string[] {
  return Object.keys(spec).filter((field) => !commonFields.has(field));
}

/** Without the sections of vendors (`upstreamSectionOf`). */
export type GatewayUpstreamSpec = z.output<ReturnType<typeof gatewayUpstreamSchema>>;

export type Backend = GatewayUpstreamSpec['backends'][number];
