import { describe, expect, it } from 'vitest';
import { customResourceDefinition } from '../../../src/api/crd.ts';
import { builtInCatalog } from '../../../src/catalog.ts';
import { staleFiles } from '../../support/generate.ts';

type Schema = Readonly<Record<string, unknown>>;

interface Place {
  readonly path: string;
  readonly schema: Schema;
}

const record = (value: unknown): Schema => value as Schema;

/** `schema` and every schema in it, by path. */
function* schemas(path: string, schema: Schema): Generator<Place> {
  yield { path, schema };
  for (const [name, child] of Object.entries(record(schema['properties'] ?? {}))) {
    yield* schemas(`${path}.${name}`, record(child));
  }
  if (schema['items'] !== undefined) yield* schemas(`${path}[]`, record(schema['items']));
  if (schema['additionalProperties'] !== undefined) {
    yield* schemas(`${path}.*`, record(schema['additionalProperties']));
  }
}

/** The keywords of apiextensions.k8s.io/v1 structural schemas that the CRDs use. */
const KEYWORDS: ReadonlySet<string> = new Set([
  'type',
  'format',
  'description',
  'default',
  'enum',
  'properties',
  'required',
  'items',
  'additionalProperties',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'pattern',
  'minItems',
  'maxItems',
  'maxProperties',
  'x-kubernetes-int-or-string',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-validations',
]);

interface Rule {
  readonly rule: string;
  readonly message: string;
}

const rulesOf = (schema: Schema) => (schema['x-kubernetes-validations'] ?? []) as readonly Rule[];

describe.each(builtInCatalog.customResources.map((resource) => [resource.kind, resource] as const))(
  '%s',
  (kind, resource) => {
    const definition = record(customResourceDefinition(resource));
    const spec = record(definition['spec']);
    const [version, ...otherVersions] = spec['versions'] as readonly Schema[];
    const root = record(record(version?.['schema'])['openAPIV3Schema']);
    const properties = record(root['properties']);
    const places = [...schemas('', root)];

    it('uses the names that kubectl users expect', () => {
      const plural = kind === 'ServiceRegistry' ? 'serviceregistries' : `${kind.toLowerCase()}s`;
      expect(record(definition['metadata'])['name']).toBe(`${plural}.gatewayupstream.dev`);
      expect(spec).toMatchObject({
        group: 'gatewayupstream.dev',
        scope: kind === 'GatewayUpstream' ? 'Namespaced' : 'Cluster',
        names: {
          kind,
          plural,
          singular: kind.toLowerCase(),
          shortNames: [
            {
              GatewayUpstream: 'gwu',
              GatewayConnection: 'gwc',
              GatewayUpstreamSet: 'gwus',
              ServiceRegistry: 'svcreg',
            }[kind],
          ],
          categories: ['gateway-upstreams'],
        },
      });
      expect(otherVersions).toEqual([]);
      expect(version).toMatchObject({
        name: 'v1alpha1',
        served: true,
        storage: true,
        subresources: { status: {} },
      });
    });

    it('has a schema that the API server accepts', () => {
      expect(places.length).toBeGreaterThan(40);
      for (const { path, schema } of places) {
        expect(
          Object.keys(schema).filter((keyword) => !KEYWORDS.has(keyword)),
          path,
        ).toEqual([]);
        // In a structural schema every value has a type or is int-or-string.
        expect(schema['type'] !== undefined, path).toBe(schema['x-kubernetes-int-or-string'] !== true);
        expect(schema['properties'] !== undefined && schema['additionalProperties'] !== undefined, path).toBe(
          false,
        );
        if (schema['type'] === 'array') expect(schema['items'], path).toBeDefined();
        // The API server drops an empty list, so that `check` would find a difference.
        expect(schema['x-kubernetes-validations'], path).not.toEqual([]);
        for (const bound of ['minimum', 'maximum']) {
          expect(Math.abs(Number(schema[bound] ?? 0)), path).toBeLessThan(Number.MAX_SAFE_INTEGER);
        }
      }
    });

    it('requires only properties that exist', () => {
      for (const { path, schema } of places) {
        const known = Object.keys(record(schema['properties'] ?? {}));
        for (const name of (schema['required'] ?? []) as readonly string[])
          expect(known, path).toContain(name);
      }
      expect(root['required']).toEqual(['spec']);
    });

    it('uses only RE2-compatible, anchored patterns', () => {
      for (const { path, schema } of places) {
        const pattern = schema['pattern'];
        if (pattern === undefined) continue;
        expect(pattern, path).not.toMatch(/\(\?[=!<]|\\[1-9]/);
        expect(pattern, path).toMatch(/^\^.*\$$/);
      }
    });

    it('bounds every list and string of the spec, which keeps the cost of CEL rules low', () => {
      for (const { path, schema } of schemas('spec', record(properties['spec']))) {
        if (schema['type'] === 'array') expect(schema['maxItems'], path).toBeDefined();
        if (schema['type'] === 'string' && schema['enum'] === undefined)
          expect(schema['maxLength'], path).toBeDefined();
        if (schema['additionalProperties'] !== undefined) expect(schema['maxProperties'], path).toBeDefined();
      }
    });

    it('describes every field', () => {
      const standard = new Set(['.apiVersion', '.kind', '.metadata']);
      for (const { path, schema } of places) {
        if (path === '' || standard.has(path) || /(\[\]|\.\*)$/.test(path)) continue;
        expect(schema['description'], path).toMatch(/^.+[.]$/);
      }
    });

    it('states defaults and bounds in the description of a field, for kubectl explain', () => {
      for (const { path, schema } of schemas('spec', record(properties['spec']))) {
        const { description, default: value, type, minimum, maximum } = schema;
        if (description === undefined) continue;
        if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
          expect(description, path).toContain(`Default: ${value === '' ? 'empty' : value}.`);
        }
        if (type === 'integer') expect(description, path).toContain(`From ${minimum} to ${maximum}.`);
      }
    });

    it('has a one-line message for every rule', () => {
      const rules = places.flatMap(({ path, schema }) => rulesOf(schema).map((rule) => ({ path, ...rule })));
      expect(rules.length).toBeGreaterThan(3);
      for (const { path, rule, message } of rules) {
        expect(rule.trim(), path).not.toBe('');
        expect(message, path).toMatch(/^[^\n]+$/);
      }
    });

    it('lists conditions as a map keyed by type', () => {
      const conditions = record(record(record(properties['status'])['properties'])['conditions']);
      expect(conditions).toMatchObject({
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['type'],
        items: {
          required: expect.arrayContaining(['type', 'status', 'lastTransitionTime', 'reason', 'message']),
        },
      });
    });

    it('sets Ready to Unknown with reason Pending on a new object', () => {
      const { conditions } = record(record(properties['status'])['default']);
      expect(conditions).toEqual([
        expect.objectContaining({ type: 'Ready', status: 'Unknown', reason: 'Pending' }),
      ]);
    });
  },
);

describe('transition rules', () => {
  const specOf = (kind: string) => {
    const resource = builtInCatalog.customResources.find((one) => one.kind === kind);
    if (resource === undefined) throw new Error(kind);
    const [version] = record(record(customResourceDefinition(resource))['spec'])[
      'versions'
    ] as readonly Schema[];
    const root = record(record(version?.['schema'])['openAPIV3Schema']);
    return record(record(root['properties'])['spec']);
  };
  const transitions = (schema: Schema) =>
    rulesOf(schema)
      .map(({ rule }) => rule)
      .filter((rule) => rule.includes('oldSelf'));

  it('of a GatewayUpstream are on the spec, so that they also apply when a field is added or removed', () => {
    const spec = specOf('GatewayUpstream');
    expect(transitions(spec)).toEqual([
      expect.stringContaining('connectionRef'),
      expect.stringMatching(/has\(self\.upstreamId\) == has\(oldSelf\.upstreamId\)/),
      expect.stringContaining('manage'),
    ]);
  });

  it('of a GatewayUpstreamSet make connectionRef immutable', () => {
    expect(transitions(specOf('GatewayUpstreamSet'))).toEqual([
      expect.stringContaining('self.template.spec.connectionRef == oldSelf.template.spec.connectionRef'),
    ]);
  });

  it('of a GatewayConnection make idPrefix immutable', () => {
    const idPrefix = record(record(specOf('GatewayConnection')['properties'])['idPrefix']);
    expect(idPrefix['default']).toBe('');
    expect(transitions(idPrefix)).toEqual(['self == oldSelf']);
  });
});

describe('printer columns', () => {
  const columnsOf = (kind: string) => {
    const columns = builtInCatalog.customResources.find((one) => one.kind === kind)?.columns ?? [];
    return columns.map(({ name, priority }) => (priority === undefined ? name : `${name} (wide)`));
  };

  it('of a GatewayUpstream', () => {
    expect(columnsOf('GatewayUpstream')).toEqual([
      'Connection',
      'Upstream-ID',
      'Endpoints',
      'Ready',
      'Reason (wide)',
      'Age',
    ]);
  });

  it('of a GatewayUpstreamSet', () => {
    expect(columnsOf('GatewayUpstreamSet')).toEqual([
      'Connection',
      'Services',
      'Upstreams',
      'Waiting',
      'Ready',
      'Reason (wide)',
      'Age',
    ]);
  });

  it('of a ServiceRegistry', () => {
    expect(columnsOf('ServiceRegistry')).toEqual([
      'Type',
      'Version',
      'Services',
      'Last-Answer (wide)',
      'Ready',
      'Reason (wide)',
      'Age',
    ]);
  });

  it('of a GatewayConnection', () => {
    expect(columnsOf('GatewayConnection')).toEqual(expect.arrayContaining(['Ready', 'Reason (wide)', 'Age']));
  });
});

it('the committed CRDs match the generated ones', async () => {
  expect((await staleFiles()).filter((path) => path.startsWith('crds/'))).toEqual([]);
});
