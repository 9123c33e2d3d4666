import { z } from 'zod';
import type { RegistrySection } from './registry-section.ts';
import { dnsSubdomain, text, withRules } from './schema.ts';

const MAX_METADATA_KEYS = 16;
const MAX_METADATA_KEY_LENGTH = 128;

/** Names with these characters are safe in the path of a URL, also after a proxy has normalized it. */
const serviceName =
  /^[.]*[a-zA-Z0-9_:@~,$-][a-zA-Z0-9_.:@~,$-]*(\/[.]*[a-zA-Z0-9_:@~,$-][a-zA-Z0-9_.:@~,$-]*)*$/;

const registryFields = {
  registryRef: z
    .object({
      name: text(253, {
        pattern: dnsSubdomain,
        message: 'name must be the name of a ServiceRegistry: lowercase letters, digits, "-" and "."',
      }).describe('Name of the ServiceRegistry.'),
    })
    .optional()
    .describe('The ServiceRegistry that lists the instances. It must allow the namespace of this object.'),
  service: text(512, {
    pattern: serviceName,
    message:
      'service may contain letters, digits and "_.:@~,$-", in parts that are separated by "/" and are not empty, "." or ".."',
  })
    .optional()
    .describe('Name of the service in the registry.'),
  metadata: withRules(
    z
      .record(z.string(), z.array(z.string().max(256)).min(1).max(16))
      .meta({ maxProperties: MAX_METADATA_KEYS }),
    [
      {
        rule: `self.all(key, size(key) <= ${MAX_METADATA_KEY_LENGTH})`,
        message: `a key of metadata must have at most ${MAX_METADATA_KEY_LENGTH} characters`,
        holds: (filters) =>
          Object.keys(filters).length <= MAX_METADATA_KEYS &&
          Object.keys(filters).every((key) => key.length <= MAX_METADATA_KEY_LENGTH),
      },
    ],
  )
    .optional()
    .describe(
      'Selects instances by their metadata: at most 16 keys with up to 16 values each. An instance must have every key with one of its values.',
    ),
  weights: z
    .enum(['Registry', 'Equal'])
    .optional()
    .describe(
      'How the traffic of this backend is divided among its instances. Registry: by the weights in the registry; instances with weight 0 receive no traffic (`WeightZero`). Equal: evenly. Default: Registry.',
    ),
  portFrom: z
    .object({
      metadata: z
        .string()
        .min(1)
        .max(MAX_METADATA_KEY_LENGTH)
        .describe('Key in the metadata of an instance. Its value is the port.'),
    })
    .optional()
    .describe(
      'Where the operator finds the port of an instance. It excludes instances without a valid port there (`PortMissing`). Default: the port that the registry lists.',
    ),
};

const registryOnlyFields = ['service', 'metadata', 'weights', 'portFrom'];

/** The fields and rules that these types of registries add to a backend. */
export function registryBackend(registries: readonly RegistrySection[]) {
  const sections = registries.filter(({ backendSchema }) => backendSchema !== undefined);
  const fields: Readonly<Record<string, z.ZodType>> = {
    ...registryFields,
    ...Object.fromEntries(
      sections.map(({ section, backendSchema = z.never() }) => [
        section,
        withoutDefaults(backendSchema).optional(),
      ]),
    ),
  };
  const refersToRegistry = (value: object) =>
    (value as { readonly registryRef?: unknown }).registryRef !== undefined;
  const has = (value: object, field: string) =>
    (value as Readonly<Record<string, unknown>>)[field] !== undefined;
  const names = sections.map(({ section }) => section);
  const rules = [...registryOnlyFields, ...names].map((field) => ({
    rule: `!has(self.${field}) || has(self.registryRef)`,
    message: `${field} requires registryRef: add registryRef, or remove ${field}`,
    holds: (value: object) => !has(value, field) || refersToRegistry(value),
  }));
  return {
    fields,
    rules: [
      {
        rule: '!has(self.registryRef) || (has(self.service) && !has(self.addressing))',
        message: 'a backend with registryRef must set service and must not set addressing',
        holds: (value: object) =>
          !refersToRegistry(value) || (has(value, 'service') && !has(value, 'addressing')),
      },
      ...rules,
      ...(names.length < 2 ? [] : [oneSection(names)]),
    ],
  };
}

/**
 * Parses a field that equals its default to undefined, which the source of the registry reads as the default. The marks of nodes
 * depend on the other fields: a release that adds a field with a default must not change them.
 */
function withoutDefaults(schema: z.ZodType): z.ZodType {
  const { data } = schema.safeParse({});
  const defaults = new Map(Object.entries(data ?? {}).map(([name, value]) => [name, JSON.stringify(value)]));
  return schema.transform((section) =>
    Object.fromEntries(
      Object.entries(section ?? {}).map(([name, value]) => [
        name,
        JSON.stringify(value) === defaults.get(name) ? undefined : value,
      ]),
    ),
  );
}

function oneSection(names: readonly string[]) {
  return {
    rule: `${names.map((name) => `(has(self.${name}) ? 1 : 0)`).join(' + ')} <= 1`,
    message: `a backend must set at most one of ${names.slice(0, -1).join(', ')} and ${names.at(-1)}: that of its registry's type`,
    holds: (value: object) =>
      names.filter((name) => (value as Readonly<Record<string, unknown>>)[name] !== undefined).length <= 1,
  };
}
