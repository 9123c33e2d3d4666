import { z } from 'zod';
import { namespaceSelector } from './namespace-selector.ts';
import type { RegistrySection } from './registry-section.ts';
import { conditions, observedGeneration, withRules } from './schema.ts';

const sharedFields = {
  allowedNamespaces: namespaceSelector
    .optional()
    .describe('Namespaces whose GatewayUpstreams may use this registry. Absent: none.'),
};

/** The spec of a ServiceRegistry of one of `types`, of which there is at least one. */
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
        .describe('Kind of the registry. Immutable.'),
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
        message: `the section ${section} belongs to type ${type}: set it for this type, and for no other`,
        holds: (value: { readonly type: string }) => has(value, section) === (value.type === type),
      })),
    ],
  );
}

/** Without the sections of the types. */
export type ServiceRegistrySpec = z.output<ReturnType<typeof serviceRegistrySchema>>;

export const serviceRegistryStatus = z.object({
  observedGeneration,
  conditions: conditions.optional(),
});

export type ServiceRegistryStatus = z.output<typeof serviceRegistryStatus>;
