import { z } from 'zod';
import { dnsLabel, text, withRules } from './schema.ts';

/** The name of a Service, wherever one is referred to. */
export const serviceRefName = text(63, {
  pattern: dnsLabel,
  message:
    'name is the name of the Service alone, for example web: lower case letters, digits and "-"; its namespace and port are fields of their own',
}).describe('Name of the Service.');

/** The namespace of a Service, wherever one is referred to. */
export const serviceRefNamespace = text(63, {
  pattern: dnsLabel,
  message: 'namespace is the name of a namespace, for example default: lower case letters, digits and "-"',
});

/** One of a Service's ports, wherever one is referred to. */
export const serviceRefPort = withRules(
  z.union([z.int(), z.string().max(63)]).meta({ 'x-kubernetes-int-or-string': true, maxLength: 63 }),
  [
    {
      rule: "type(self) == int ? (int(self) >= 1 && int(self) <= 65535) : string(self).matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(string(self)) <= 15 && string(self).matches('[a-z]')",
      message:
        "port must be the number (1 to 65535, without quotes) or the name of one of the Service's ports, for example 80 or http",
      holds: (value) =>
        typeof value === 'number'
          ? value >= 1 && value <= 65535
          : dnsLabel.test(value) && value.length <= 15 && /[a-z]/.test(value),
    },
  ],
).describe("One of the Service's ports, by number or by name.");
