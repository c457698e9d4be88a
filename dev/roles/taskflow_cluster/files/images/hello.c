/* The only file of an image that has nothing else: no shell, no library. Greets each of its arguments. */
#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("hello %s\n", argv[i]);
    return 0;
}
