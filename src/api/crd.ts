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

/** A kind without its schema. */
interface CustomKind {
  readonly kind: string;
  readonly plural: string;
  readonly shortName: string;
  readonly scope: 'Namespaced' | 'Cluster';
  readonly description: string;
  readonly columns: readonly PrinterColumn[];
  /** CEL over the whole object. */
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
  description: 'One upstream object in one API gateway, kept equal to what runs in the cluster.',
  columns: [
    { name: 'Connection', type: 'string', jsonPath: '.spec.connectionRef.name' },
    { name: 'Upstream-ID', type: 'string', jsonPath: '.status.upstreamId' },
    {
      name: 'Endpoints',
      type: 'string',
      jsonPath: '.status.endpoints.summary',
      description: 'Ready endpoints of all.',
    },
    ...readyColumns,
  ],
} as const satisfies CustomKind;

export const GATEWAY_CONNECTION = {
  kind: 'GatewayConnection',
  plural: 'gatewayconnections',
  shortName: 'gwc',
  scope: 'Cluster',
  description: 'One API gateway that GatewayUpstreams may use, owned by the platform team.',
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
  description: 'One GatewayUpstream for each port of many Services, owned by the platform team.',
  columns: [
    { name: 'Connection', type: 'string', jsonPath: '.spec.template.spec.connectionRef.name' },
    { name: 'Services', type: 'integer', jsonPath: '.status.services' },
    { name: 'Upstreams', type: 'integer', jsonPath: '.status.upstreams' },
    {
      name: 'Waiting',
      type: 'integer',
      jsonPath: '.status.pruning.waiting',
      description: 'GatewayUpstreams whose deletion waits to be accepted.',
    },
    ...readyColumns,
  ],
  rules: [
    {
      rule: 'size(self.metadata.name) <= 63',
      message: 'the name has at most 63 characters: it is a label of each GatewayUpstream of the set',
    },
  ],
} as const satisfies CustomKind;

/** Only in a program with a type of registry. */
export const SERVICE_REGISTRY = {
  kind: 'ServiceRegistry',
  plural: 'serviceregistries',
  shortName: 'svcreg',
  scope: 'Cluster',
  description: 'One service registry that GatewayUpstreams may use, owned by the platform team.',
  columns: [
    { name: 'Type', type: 'string', jsonPath: '.spec.type' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
} as const satisfies CustomKind;

/** Every kind of this group, in the order in which they are installed. */
export const CUSTOM_RESOURCES: readonly CustomKind[] = [
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
];

/** The schemas of the specs, which depend on the vendors that are built in. */
export interface SpecSchemas {
  readonly gatewayConnection: ReturnType<typeof gatewayConnectionSchema>;
  readonly gatewayUpstream: ReturnType<typeof gatewayUpstreamSchema>;
  readonly gatewayUpstreamSet: ReturnType<typeof gatewayUpstreamSetSchema>;
  /** Absent: no type of registry is built in. */
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

/** A kind with its schema. */
export interface CustomResource extends CustomKind {
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
}

/** `CUSTOM_RESOURCES` with their schemas, in the same order, and ServiceRegistry where it has one. */
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
 * What zod emits and an API server refuses: an `anyOf` beside `x-kubernetes-int-or-string`, `additionalProperties`
 * beside `properties` or unknown fields, the whole-number bounds that zod gives every integer.
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

/** The structural OpenAPI v3 schema that the API server takes for `schema`. */
function openApiSchema(schema: z.ZodType): JsonObject {
  return z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    override: structural,
  }) as JsonObject;
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
                spec: openApiSchema(resource.spec),
                status: openApiSchema(resource.status),
              },
            },
          },
        },
      ],
    },
  };
}
