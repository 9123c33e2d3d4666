import { dnsSubdomain, text } from './schema.ts';

/** Name of a Secret in the operator's own namespace. */
export const secretName = text(253, {
  pattern: dnsSubdomain,
  message:
    'name must be the name of a Secret, without its namespace: lowercase letters, digits, "-" and ".", for example apisix-admin',
});
/** Key in the data of such a Secret. */
export const secretKey = text(253, {
  pattern: /^[-._a-zA-Z0-9]+$/,
  message:
    'key must be a key in the data of the Secret: letters, digits, "-", "_" and ".", for example admin-key',
});
