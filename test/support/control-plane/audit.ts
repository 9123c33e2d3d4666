import { readFile } from 'node:fs/promises';
import { OPERATOR } from '../../../src/api/group.ts';
import type { ControlPlane } from './control-plane.ts';

/** The fields of an audit log entry that the tests use. */
export interface AuditEvent {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number };
}

/** All requests of the operator in `namespace` so far. The control plane needs an audit log. */
export async function auditEvents(
  { auditLog }: Pick<ControlPlane, 'auditLog'>,
  namespace: string,
): Promise<readonly AuditEvent[]> {
  if (auditLog === undefined) throw new Error('the control plane was started without an audit log');
  const user = `system:serviceaccount:${namespace}:${OPERATOR}`;
  return (await readFile(auditLog, 'utf8'))
    .split('\n')
    .filter((line) => line.includes(user))
    .map((line) => JSON.parse(line) as AuditEvent)
    .filter(({ user: { username } }) => username === user);
}
