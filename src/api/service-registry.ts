import { z } from 'zod';
import { namespaceSelector } from './namespace-selector.ts';
import type { RegistrySection } from './registry-section.ts';
import { conditions, observedGeneration, withRules } from './schema.ts';

const sharedFields = {
  allowedNamespaces: namespaceSelector
    .optional()
    .describe(
      'Namespaces whose GatewayUpstreams may use this registry: the union of `names`, `match` and `selector`, without `notMatch`. If absent, no namespace may use it.',
    ),
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

export const serviceRegistryStatus = z.object({
  observedGeneration,
  conditions: conditions.optional(),
});

export type ServiceRegistryStatus = z.output<typeof serviceRegistryStatus>;
