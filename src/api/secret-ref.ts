import { dnsSubdomain, text } from './schema.ts';

/** Name of a Secret in the operator's own namespace. */
export const secretName = text(253, {
  pattern: dnsSubdomain,
  message:
    'name is the name of a Secret alone, without its namespace: lower case letters, digits, "-" and ".", for example apisix-admin',
});
/** Name of an entry of such a Secret. */
export const secretKey = text(253, {
  pattern: /^[-._a-zA-Z0-9]+$/,
  message:
    'key is the name of an entry of the Secret: letters, digits, "-", "_" and ".", for example admin-key',
});
