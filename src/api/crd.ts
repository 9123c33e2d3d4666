import { z } from 'zod';
import { gatewayConnectionSchema, gatewayConnectionStatus } from './gateway-connection.ts';
import { gatewayUpstreamSchema } from './gateway-upstream.ts';
import { gatewayUpstreamSetSchema, gatewayUpstreamSetStatus } from './gateway-upstream-set.ts';
import { gatewayUpstreamStatus } from './gateway-upstream-status.ts';
import { GROUP, VERSION } from './group.ts';
import type { RegistrySection } from './registry-section.ts';
import { serviceRegistrySchema, serviceRegistryStatus } from './service-registry.ts';
import type { VendorSection } from './vendor-section.ts';

interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly priority?: number;
  readonly description?: string;
}

/** A kind without its schemas. */
interface CustomKind {
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly columns: readonly PrinterColumn[];
  /** CEL rules for the whole object. */
  readonly rules?: readonly { readonly rule: string; readonly message: string }[];
}

const readyColumns: readonly PrinterColumn[] = [
  { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
  { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason', priority: 1 },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
];

export const GATEWAY_UPSTREAM = {
  kind: 'GatewayUpstream',
  plural: 'gatewayupstreams',
  shortName: 'gwu',
  scope: 'Namespaced',
  description:
    'A GatewayUpstream describes one upstream of an API gateway. The operator keeps the nodes of the upstream in sync with Services in the cluster.',
  columns: [
    { name: 'Connection', type: 'string', jsonPath: '.spec.connectionRef.name' },
    { name: 'Upstream-ID', type: 'string', jsonPath: '.status.upstreamId' },
    {
      name: 'Endpoints',
      type: 'string',
      jsonPath: '.status.endpoints.summary',
      description: 'Ready endpoints of all endpoints of the backends.',
    },
    ...readyColumns,
  ],
} as const satisfies CustomKind;

export const GATEWAY_CONNECTION = {
  kind: 'GatewayConnection',
  plural: 'gatewayconnections',
  shortName: 'gwc',
  scope: 'Cluster',
  description:
    'A GatewayConnection describes one API gateway: its address, its credentials, and which namespaces may use it. It belongs to the platform team.',
  columns: [
    { name: 'Type', type: 'string', jsonPath: '.spec.type' },
    { name: 'Version', type: 'string', jsonPath: '.status.gatewayVersion' },
    { name: 'Upstreams', type: 'integer', jsonPath: '.status.upstreams' },
    ...readyColumns,
  ],
} as const satisfies CustomKind;

export const GATEWAY_UPSTREAM_SET = {
  kind: 'GatewayUpstreamSet',
  plural: 'gatewayupstreamsets',
  shortName: 'gwus',
  scope: 'Cluster',
  description:
    'A GatewayUpstreamSet creates one GatewayUpstream for each port of the Services that it selects. It belongs to the platform team.',
  columns: [
    { name: 'Connection', type: 'string', jsonPath: '.spec.template.spec.connectionRef.name' },
    { name: 'Services', type: 'integer', jsonPath: '.status.services' },
    { name: 'Upstreams', type: 'integer', jsonPath: '.status.upstreams' },
    {
      name: 'Waiting',
      type: 'integer',
      jsonPath: '.status.pruning.waiting',
      description:
        'Number of GatewayUpstreams whose deletion waits for the annotation gatewayupstream.dev/accept-prune.',
    },
    ...readyColumns,
  ],
  rules: [
    {
      rule: 'size(self.metadata.name) <= 63',
      message:
        'the name must have at most 63 characters, because it is the value of a label on each GatewayUpstream of the set',
    },
  ],
} as const satisfies CustomKind;

export const SERVICE_REGISTRY = {
  kind: 'ServiceRegistry',
  plural: 'serviceregistries',
  shortName: 'svcreg',
  scope: 'Cluster',
  description:
    'A ServiceRegistry describes one service registry outside the cluster, and which namespaces may use it. It belongs to the platform team.',
  columns: [
    { name: 'Type', type: 'string', jsonPath: '.spec.type' },
    { name: 'Version', type: 'string', jsonPath: '.status.version' },
    {
      name: 'Services',
      type: 'integer',
      jsonPath: '.status.followedServices',
      description: 'Services that the operator follows.',
    },
    {
      name: 'Last-Answer',
      type: 'date',
      jsonPath: '.status.lastCompleteAnswerTime',
      priority: 1,
      description: 'Time since the last complete answer of the registry.',
    },
    ...readyColumns,
  ],
} as const satisfies CustomKind;

/** The kinds of this group, in installation order. A catalog without registry types lacks ServiceRegistry. */
export const CUSTOM_RESOURCES: readonly CustomKind[] = [
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
  SERVICE_REGISTRY,
];

/** The schemas of the specs. They depend on the built-in vendors and registry types. */
export interface SpecSchemas {
  readonly gatewayConnection: ReturnType<typeof gatewayConnectionSchema>;
  readonly gatewayUpstream: ReturnType<typeof gatewayUpstreamSchema>;
  readonly gatewayUpstreamSet: ReturnType<typeof gatewayUpstreamSetSchema>;
  /** Absent if no registry type is built in. */
  readonly serviceRegistry?: ReturnType<typeof serviceRegistrySchema>;
}

export function specSchemas(
  vendors: readonly VendorSection[],
  registries: readonly RegistrySection[] = [],
): SpecSchemas {
  const gatewayUpstream = gatewayUpstreamSchema(vendors, registries);
  const [first, ...others] = registries;
  return {
    gatewayConnection: gatewayConnectionSchema(vendors),
    gatewayUpstream,
    gatewayUpstreamSet: gatewayUpstreamSetSchema(gatewayUpstream),
    ...(first === undefined ? {} : { serviceRegistry: serviceRegistrySchema([first, ...others]) }),
  };
}

/** A kind with its schemas. */
export interface CustomResource extends CustomKind {
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
}

/** `CUSTOM_RESOURCES` with their schemas, in the same order, without ServiceRegistry if it has no schema. */
export function customResources(schemas: SpecSchemas): readonly CustomResource[] {
  return [
    { ...GATEWAY_CONNECTION, spec: schemas.gatewayConnection, status: gatewayConnectionStatus },
    { ...GATEWAY_UPSTREAM, spec: schemas.gatewayUpstream, status: gatewayUpstreamStatus },
    { ...GATEWAY_UPSTREAM_SET, spec: schemas.gatewayUpstreamSet, status: gatewayUpstreamSetStatus },
    ...(schemas.serviceRegistry === undefined
      ? []
      : [{ ...SERVICE_REGISTRY, spec: schemas.serviceRegistry, status: serviceRegistryStatus }]),
  ];
}

type JsonObject = Record<string, unknown>;

/**
 * Removes what zod emits and the API server rejects: `anyOf` next to `x-kubernetes-int-or-string`,
 * `additionalProperties` next to `properties` or unknown fields, and the bounds that zod gives every integer.
 */
function structural({ jsonSchema }: { jsonSchema: JsonObject }): void {
  if (jsonSchema['x-kubernetes-int-or-string'] === true) delete jsonSchema['anyOf'];
  if (jsonSchema['properties'] !== undefined || jsonSchema['x-kubernetes-preserve-unknown-fields'] === true) {
    delete jsonSchema['additionalProperties'];
  }
  if (jsonSchema['type'] === 'integer') {
    if (jsonSchema['minimum'] === Number.MIN_SAFE_INTEGER) delete jsonSchema['minimum'];
    if (jsonSchema['maximum'] === Number.MAX_SAFE_INTEGER) delete jsonSchema['maximum'];
    jsonSchema['format'] = 'int64';
  }
}

/** `schema` as a structural OpenAPI v3 schema for the API server. */
function openApiSchema(schema: z.ZodType): JsonObject {
  const result = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    override: structural,
  }) as JsonObject;
  describeLimits(result);
  return result;
}

/** Adds defaults and bounds to the descriptions of `schema` and its fields, because `kubectl explain` shows neither. */
function describeLimits(schema: JsonObject): void {
  const { description, default: value, type, minimum, maximum, properties = {}, items } = schema;
  if (typeof description === 'string') {
    const sentences = [description];
    if (type === 'integer' && minimum !== undefined && maximum !== undefined) {
      sentences.push(`From ${minimum} to ${maximum}.`);
    }
    const isScalar = ['string', 'number', 'boolean'].includes(typeof value);
    if (isScalar && !description.includes('Default:')) {
      sentences.push(`Default: ${value === '' ? 'empty' : value}.`);
    }
    schema['description'] = sentences.join(' ');
  }
  for (const field of Object.values(properties as Record<string, JsonObject>)) describeLimits(field);
  if (items !== undefined) describeLimits(items as JsonObject);
}

/** The CustomResourceDefinition of `resource`, ready for `kubectl apply`. */
export function customResourceDefinition(resource: CustomResource): JsonObject {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${resource.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      names: {
        kind: resource.kind,
        listKind: `${resource.kind}List`,
        plural: resource.plural,
        singular: resource.kind.toLowerCase(),
        shortNames: [resource.shortName],
        categories: ['gateway-upstreams'],
      },
      scope: resource.scope,
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: resource.columns,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description: resource.description,
              required: ['spec'],
              ...(resource.rules === undefined ? {} : { 'x-kubernetes-validations': resource.rules }),
              properties: {
                apiVersion: { type: 'string' },
                kind: { type: 'string' },
                metadata: { type: 'object' },
                spec: { ...openApiSchema(resource.spec), description: 'Desired state of the object.' },
                status: {
                  ...openApiSchema(resource.status),
                  description: 'Observed state of the object. Only the operator writes it.',
                },
              },
            },
          },
        },
      ],
    },
  };
}
