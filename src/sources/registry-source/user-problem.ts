import { RegistryError } from './protocol.ts';

/**
 * A failure as the status of a GatewayUpstream shows it. Its owner learns nothing about the servers and the Secrets of the
 * platform team, and the text stays the same while other servers are tried.
 */
export function problemForUsers(error: unknown): string {
  if (!(error instanceof RegistryError)) return 'internal error, see the operator log';
  if (error.scope === 'service') return error.message;
  return `${whatFailed(error)}: ask the platform team, which sees the cause in the status of the ServiceRegistry`;
}

function whatFailed({ reason, scope }: RegistryError): string {
  if (scope === 'server') return 'no server of the registry gives a complete answer';
  switch (reason) {
    case 'Unauthorized':
      return "the registry rejects the operator's credentials";
    case 'Filtered':
      return "the operator's credentials do not permit reading every instance";
    case 'SecretMissing':
      return 'the operator has no credentials for the registry';
    case 'Unreachable':
    case 'ServerError':
    case 'InvalidAnswer':
      return 'the registry gives no complete answer';
    default:
      return reason satisfies never;
  }
}
