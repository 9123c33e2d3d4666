import { nameRegExp } from './name-reg-exp.ts';

/** Stands for the namespace of a GatewayUpstream in a `servicePattern`. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: users write it like this.
export const NAMESPACE_PLACEHOLDER = '${namespace}';

/** A regular expression for whole names of services in a registry. */
export const servicePattern = nameRegExp({
  characters: '[a-zA-Z0-9_.:@~,/-]',
  placeholder: NAMESPACE_PLACEHOLDER,
  what: 'service names',
  example: `^${NAMESPACE_PLACEHOLDER}[.].+$`,
});
