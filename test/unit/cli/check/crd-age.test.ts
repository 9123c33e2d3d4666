import { describe, expect, it } from 'vitest';
import { customResourceDefinition } from '../../../../src/api/crd.ts';
import { builtInCatalog } from '../../../../src/catalog.ts';
import { schemaAge } from '../../../../src/cli/check/crd-age.ts';

const own = {
  type: 'object',
  description: 'what it is',
  required: ['a'],
  properties: {
    a: { type: 'string', enum: ['X', 'Y'] },
    b: { type: 'array', items: { type: 'object', properties: { c: { type: 'integer', minimum: 1 } } } },
    d: { type: 'object', additionalProperties: { type: 'string', maxLength: 5 } },
    port: { 'x-kubernetes-int-or-string': true },
  },
};
const { a, b, d, port } = own.properties;
const item = b.items;

describe('schemaAge', () => {
  it.each([
    ['the same fields', own, { kind: 'same' }],
    ['another description', { ...own, description: 'else' }, { kind: 'same' }],
    [
      'what the API server adds to an integer or string',
      {
        ...own,
        properties: {
          ...own.properties,
          port: { ...port, anyOf: [{ type: 'integer' }, { type: 'string' }] },
        },
      },
      { kind: 'same' },
    ],
    ['a missing field', { ...own, properties: { a, b, d } }, { kind: 'older', fields: ['spec.port'] }],
    [
      'a field less in a list',
      { ...own, properties: { ...own.properties, b: { ...b, items: { type: 'object' } } } },
      { kind: 'older', fields: ['spec.b[].c'] },
    ],
    [
      'a word less',
      { ...own, properties: { ...own.properties, a: { ...a, enum: ['X'] } } },
      { kind: 'older', fields: ['spec.a=Y'] },
    ],
    [
      'a field more',
      { ...own, properties: { ...own.properties, e: { type: 'string' } } },
      { kind: 'newer', fields: ['spec.e'] },
    ],
    [
      'a word more',
      { ...own, properties: { ...own.properties, a: { ...a, enum: ['X', 'Y', 'Z'] } } },
      { kind: 'newer', fields: ['spec.a=Z'] },
    ],
    [
      'a field less and one more',
      { ...own, properties: { a, b, d, e: { type: 'string' } } },
      { kind: 'different', fields: ['spec.port', 'spec.e'] },
    ],
    ['another rule', { ...own, required: [] }, { kind: 'different', fields: ['spec'] }],
    [
      'another bound in a list',
      {
        ...own,
        properties: {
          ...own.properties,
          b: { ...b, items: { ...item, properties: { c: { type: 'integer', minimum: 2 } } } },
        },
      },
      { kind: 'different', fields: ['spec.b[].c'] },
    ],
    [
      'another bound in a mapping',
      {
        ...own,
        properties: {
          ...own.properties,
          d: { ...d, additionalProperties: { type: 'string', maxLength: 6 } },
        },
      },
      { kind: 'different', fields: ['spec.d.*'] },
    ],
  ])('compares a schema with %s', (_, served, age) => {
    expect(schemaAge('spec', served, own)).toEqual(age);
  });

  it('reports all fields as missing for an undefined schema', () => {
    const age = schemaAge('spec', undefined, own);
    expect(age).toMatchObject({ kind: 'older', fields: expect.arrayContaining(['spec.a', 'spec.port']) });
  });

  it.each(builtInCatalog.customResources)(
    'reports no difference for the schema of $kind itself',
    (resource) => {
      const schema = JSON.parse(JSON.stringify(customResourceDefinition(resource))) as unknown;
      expect(schemaAge('crd', schema, structuredClone(schema))).toEqual({ kind: 'same' });
    },
  );
});
