// Unsafe variables: those by which an environment makes another program run than the one
// that is named, or other code in it.

const UNSAFE =
  /^(LD_.*|DYLD_.*|GLIBC_TUNABLES|GCONV_PATH|NODE_OPTIONS|BASH_ENV|ENV|BASH_FUNC_.*|SHELLOPTS|BASHOPTS|PS4|PYTHONHOME|PYTHONPATH|PYTHONSTARTUP|PERL5DB|PERL5LIB|PERL5OPT|RUBYLIB|RUBYOPT|JAVA_TOOL_OPTIONS|JDK_JAVA_OPTIONS|_JAVA_OPTIONS)$/

/** The first one in an environment; undefined: there is none. */
export const unsafeVariable = (
  environment: Readonly<Record<string, string>> | undefined,
): string | undefined => {
  for (const name in environment) if (UNSAFE.test(name)) return name
  return undefined
}
