import { sign } from 'node:crypto';
import type { ClusterAccess } from './cluster-access.ts';
import { SERVICE_ACCOUNT_ISSUER } from './control-plane.ts';

const LIFETIME_S = 3600;

/** A token of a ServiceAccount (`namespace/name`) that is valid for the hour before `expiryS`, in seconds since 1970. */
export async function mintToken(
  cluster: ClusterAccess,
  account: `${string}/${string}`,
  expiryS: number,
): Promise<string> {
  const [namespace = '', name = ''] = account.split('/');
  const uid = await cluster.kubectl([
    ...['get', 'serviceaccount', name, '-n', namespace, '-o', 'jsonpath={.metadata.uid}'],
  ]);
  const claims = {
    iss: SERVICE_ACCOUNT_ISSUER,
    aud: [SERVICE_ACCOUNT_ISSUER],
    sub: `system:serviceaccount:${namespace}:${name}`,
    iat: expiryS - LIFETIME_S,
    nbf: expiryS - LIFETIME_S,
    exp: expiryS,
    'kubernetes.io': { namespace, serviceaccount: { name, uid } },
  };
  const parts = [{ alg: 'RS256', typ: 'JWT' }, claims];
  const signed = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  const signature = sign('sha256', Buffer.from(signed), cluster.serviceAccountKeyPem).toString('base64url');
  return `${signed}.${signature}`;
}
