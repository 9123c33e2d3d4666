import { z } from 'zod';
import { dnsLabel, text, withRules } from './schema.ts';

/** The name of a Service in a reference. */
export const serviceRefName = text(63, {
  pattern: dnsLabel,
  message:
    'name must be the name of a Service, for example web: lowercase letters, digits and "-"; set its namespace and port in namespace and port',
}).describe('Name of the Service.');

/** The namespace of a Service in a reference. */
export const serviceRefNamespace = text(63, {
  pattern: dnsLabel,
  message:
    'namespace must be the name of a namespace, for example default: lowercase letters, digits and "-"',
});

/** A port of a Service in a reference. */
export const serviceRefPort = withRules(
  z.union([z.int(), z.string().max(63)]).meta({ 'x-kubernetes-int-or-string': true, maxLength: 63 }),
  [
    {
      rule: "type(self) == int ? (int(self) >= 1 && int(self) <= 65535) : string(self).matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(string(self)) <= 15 && string(self).matches('[a-z]')",
      message:
        'port must be the number (1 to 65535, without quotes) or the name of a port of the Service, for example 80 or http',
      holds: (value) =>
        typeof value === 'number'
          ? value >= 1 && value <= 65535
          : dnsLabel.test(value) && value.length <= 15 && /[a-z]/.test(value),
    },
  ],
).describe('Port of the Service, by number (`80`) or by name (`http`).');
