import { z } from 'zod';
import { withRules } from '../../api/schema.ts';
import { secretKey, secretName } from '../../api/secret-ref.ts';
import type { UserRefs } from './user.ts';

const url =
  /^https?:\/\/([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(\/[a-zA-Z0-9._~%/-]*)?$/;

/** One or more servers of one registry. */
export function registryServers(example: string) {
  return z
    .array(
      z
        .string()
        .max(512)
        .regex(url, `must look like ${example} or https://..., without credentials, query or fragment`)
        // The pattern allows ports and IPv4 addresses that no URL can have.
        .refine((value) => URL.canParse(value), `must be a URL, for example ${example}`),
    )
    .min(1)
    .max(16)
    .refine((urls) => new Set(urls).size === urls.length, 'must not list a server twice')
    .meta({ 'x-kubernetes-list-type': 'set' })
    .describe(
      `Base URLs of the servers, for example \`${example}\`. The operator uses one of them and moves on to the next when it fails.`,
    );
}

export function secretEntry(key: string) {
  return z.object({
    name: secretName.describe('Name of the Secret.'),
    key: secretKey.default(key).describe('Key in the data of the Secret.'),
  });
}

/** References to the user of the operator. `username`: the description of the first one. A section also has `userRule`. */
export function userFields(username: string) {
  return {
    usernameSecretRef: secretEntry('username').optional().describe(username),
    passwordSecretRef: secretEntry('password')
      .optional()
      .describe('Password: an entry of a Secret in the namespace of the operator.'),
  };
}

export const userRule = {
  rule: 'has(self.usernameSecretRef) == has(self.passwordSecretRef)',
  message: 'set usernameSecretRef and passwordSecretRef together, or neither of them',
  holds: ({ usernameSecretRef, passwordSecretRef }: UserRefs) =>
    (usernameSecretRef === undefined) === (passwordSecretRef === undefined),
};

export const registryTls = withRules(
  z.object({
    caSecretRef: secretEntry('ca.crt')
      .optional()
      .describe(
        'PEM certificates of the authority that signed the certificate of the servers. Default: public authorities.',
      ),
    serverName: z
      .string()
      .max(253)
      .regex(
        /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$/,
        'serverName must be a DNS name without scheme and port',
      )
      .optional()
      .describe('Name that the certificate of the servers must contain. Default: the host of the URL.'),
    insecureSkipVerify: z
      .boolean()
      .default(false)
      .describe('Accept any certificate. Anyone on the network path can then read the credentials.'),
  }),
  [
    {
      rule: '!self.insecureSkipVerify || !has(self.caSecretRef)',
      message: 'insecureSkipVerify ignores caSecretRef: set only one of them',
      holds: (value) => !value.insecureSkipVerify || value.caSecretRef === undefined,
    },
  ],
).describe('TLS settings for https URLs.');

export type RegistryTls = z.output<typeof registryTls>;
