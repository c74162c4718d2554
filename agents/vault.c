/* holdfast-vault: a directory at a site, served over SSH with the rights of one role. */
#include "vault/vault_main.h"

int main(int argc, char **argv)
{
	return vault_main(argc, argv);
}
