import { STATUS_CODES } from 'node:http';

/**
 * The path that nginx matches: decoded, with merged slashes and resolved dot segments. Therefore `a%2Fb` and `a/b` are
 * equal for APISIX. Undefined: nginx answers 400.
 */
export function nginxPath(target: string): string | undefined {
  const encoded = target.split(/[?#]/, 1)[0] ?? '';
  if (!encoded.startsWith('/') || /%(?![0-9a-fA-F]{2})|%00/.test(encoded)) return undefined;
  const bytes = encoded.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  const segments: string[] = [];
  const raw = Buffer.from(bytes, 'latin1').toString('utf8').split('/').slice(1);
  for (const [index, segment] of raw.entries()) {
    const last = index === raw.length - 1;
    if (segment === '..') {
      if (segments.pop() === undefined) return undefined;
    } else if (segment !== '.' && segment !== '') {
      segments.push(segment);
    }
    if (last && segments.length > 0 && ['', '.', '..'].includes(segment)) segments.push('');
  }
  return `/${segments.join('/')}`;
}

export function nginxQuery(target: string): URLSearchParams {
  const start = target.indexOf('?');
  return new URLSearchParams(start < 0 ? '' : target.slice(start + 1));
}

/** The error page of nginx in APISIX. */
export function nginxPage(status: number): string {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`;
  return [
    '<html>',
    `<head><title>${title}</title></head>`,
    '<body>',
    `<center><h1>${title}</h1></center>`,
    '<hr><center>openresty</center>',
    '<p><em>Powered by <a href="https://apisix.apache.org/">APISIX</a>.</em></p></body>',
    '</html>',
  ].join('\n');
}
